// A camera that takes pictures for as long as its button is held, and hands them over in lots.

const EVERY = 250; // milliseconds
const LOT = 6; // pictures
const SIDE = 480; // pixels of the longer side

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".burst");
  if (!root.burst) root.burst = build(root);
  root.burst.use(data, (frames) => setTriggerValue("frames", frames));
  // Streamlit also cleans up after a call that a later one has overtaken: then the page is still there.
  return () => root.isConnected || root.burst?.close();
}

function build(root) {
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  const note = document.createElement("div");
  note.className = "note";
  const hold = document.createElement("button");
  hold.className = "main";
  root.append(video, note, hold);
  const canvas = document.createElement("canvas");
  let words = {};
  let send = () => {};
  let stream = null;
  let turn = 0; // a camera that is opened after its turn is over is closed again
  let opening = false;
  let timer = null;
  let frames = [];
  let taken = 0;

  async function start() {
    if (!navigator.mediaDevices) return (note.textContent = words.insecure);
    const mine = ++turn;
    opening = true;
    try {
      const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "environment" };
      const opened = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      if (mine !== turn) return stop(opened);
      video.srcObject = stream = opened;
      await video.play();
      hold.disabled = false;
    } catch (error) {
      if (mine !== turn) return;
      note.textContent = error.name === "NotAllowedError" ? words.denied : error.name === "NotFoundError" ? words.missing : words.busy;
    } finally {
      if (mine === turn) opening = false;
    }
  }

  function stop(opened) {
    opened.getTracks().forEach((track) => track.stop());
  }

  function shoot() {
    const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight, 1));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    if (!canvas.width) return;
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    frames.push(canvas.toDataURL("image/jpeg", 0.9).split(",")[1]);
    note.textContent = String(++taken);
    if (frames.length >= LOT) flush();
  }

  function flush() {
    if (!frames.length) return;
    const lot = frames;
    frames = [];
    send(lot);
  }

  function press(event) {
    event.preventDefault();
    if (timer || !stream) return;
    // The pictures taken appear above the button and move it from under a finger that stays where it is.
    if (event.type === "pointerdown") hold.setPointerCapture(event.pointerId); // which is 0 for a mouse in Firefox
    taken = 0;
    shoot();
    timer = setInterval(shoot, EVERY);
  }

  function release() {
    if (!timer) return;
    clearInterval(timer);
    timer = null;
    flush();
  }

  hold.disabled = true;
  hold.addEventListener("pointerdown", press);
  for (const end of ["pointerup", "lostpointercapture", "pointercancel", "blur"]) hold.addEventListener(end, release);
  hold.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && !event.repeat && press(event));
  hold.addEventListener("keyup", release);

  return {
    use(data, handOver) {
      words = data.words;
      send = handOver;
      hold.textContent = words.hold;
      if (!stream && !opening) start();
    },
    close() {
      release();
      turn++;
      opening = false;
      if (stream) stop(stream);
      stream = null;
    },
  };
}
