// Shows the camera, asks for an answer to one frame after another, and draws each over the video.
// One frame is on its way at a time, so that an answer is never older than it needs to be.

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".live");
  if (!root.live) root.live = build(root);
  root.live.use(data);
  // Streamlit also cleans up after a call that a later one has overtaken: then the page is still there.
  return () => root.isConnected || root.live?.close();
}

function element(tag, className, parent) {
  const made = document.createElement(tag);
  made.className = className;
  parent.append(made);
  return made;
}

function build(root) {
  const stage = element("div", "stage", root);
  const video = element("video", "", stage);
  video.muted = video.playsInline = true;
  const note = element("div", "note", stage);
  const rate = element("div", "rate", stage);
  const answer = element("div", "answer", stage);
  const label = element("div", "label", answer);
  const sure = element("div", "sure", answer);
  const why = element("div", "why", answer);
  answer.setAttribute("role", "status");
  const buttons = element("div", "buttons", root);
  const toggle = element("button", "main", buttons);
  const flip = element("button", "", buttons);
  const bars = element("div", "bars", root);
  const canvas = document.createElement("canvas");

  let settings = null;
  let stream = null;
  let facing = "environment";
  let turn = 0; // a loop ends when its turn is over
  let times = [];
  let problem = "";
  let lastShown = 0;

  function percent(share) {
    const shown = (100 * share).toFixed(1);
    if (shown === "100.0" && share < 1) return "> 99.9 %";
    if (shown === "0.0" && share > 0) return "< 0.1 %";
    return shown + " %";
  }

  // Why the most probable class is not the answer.
  function overruled(found) {
    const values = { other: found.overruled.label, share: percent(found.overruled.probability), label: found.label };
    return settings.words.overruled.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  }

  function draw() {
    const words = settings.words;
    toggle.textContent = stream ? words.stop : words.start;
    flip.textContent = words.flip;
    flip.hidden = !stream;
    note.textContent = problem ? words[problem] : "";
    if (!stream) answer.hidden = rate.hidden = true;
  }

  async function start() {
    const mine = ++turn;
    problem = "";
    if (!navigator.mediaDevices) return fail("insecure");
    note.textContent = settings.words.starting;
    toggle.disabled = true;
    try {
      const video = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: facing };
      const opened = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      if (mine !== turn) return opened.getTracks().forEach((track) => track.stop());
      stream = opened;
    } catch (error) {
      const known = { NotAllowedError: "denied", NotFoundError: "missing", OverconstrainedError: "missing" };
      return fail(known[error.name] || "busy");
    } finally {
      toggle.disabled = false;
    }
    const track = stream.getVideoTracks()[0];
    track.addEventListener("ended", () => mine === turn && fail("busy"));
    stage.classList.toggle("mirrored", track.getSettings().facingMode === "user");
    video.srcObject = stream;
    await video.play().catch(() => {});
    stage.style.aspectRatio = `${video.videoWidth || 4} / ${video.videoHeight || 3}`;
    times = [];
    draw();
    watch(mine);
    loop(mine);
  }

  function stop() {
    turn++;
    problem = "";
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
    bars.replaceChildren();
  }

  function fail(why) {
    stop();
    problem = why;
    draw();
  }

  async function loop(mine) {
    while (mine === turn) {
      try {
        const found = await ask();
        if (mine !== turn) return;
        if (found) show(found);
        else if (performance.now() - lastShown > 2000) answer.hidden = rate.hidden = true; // an old answer to a new picture
        problem = "";
      } catch (error) {
        if (mine !== turn) return;
        problem = "lost";
        answer.hidden = rate.hidden = true;
        await pause(1000);
      }
      note.textContent = problem ? settings.words[problem] : "";
      await nextFrame();
    }
  }

  // Waits until the camera has shown a picture that was not asked about yet; a hidden page asks for nothing.
  let fresh = true;
  function watch(mine) {
    fresh = true;
    if (mine === turn && video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => watch(mine));
  }
  async function nextFrame() {
    while (document.hidden) await pause(200);
    if (!video.requestVideoFrameCallback) return pause(15);
    for (let tries = 0; tries < 50 && !fresh; tries++) await pause(4);
    fresh = false;
  }

  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  async function ask() {
    if (document.hidden || !video.videoWidth) return null;
    // Not smaller than twice what the model takes: it does its own, antialiased, resizing.
    const scale = Math.min(1, (2 * settings.side) / Math.min(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const frame = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    const base = window.location.pathname.replace(/\/[^/]*$/, "/");
    const response = await fetch(`${base}${settings.path}?model=${encodeURIComponent(settings.model)}`, {
      method: "POST",
      headers: { [settings.header]: "1", "content-type": "image/jpeg" },
      body: frame,
      signal: AbortSignal.timeout(4000),
    });
    if (response.status === 429) { await pause(100); return null; }
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  }

  function show(found) {
    const now = (lastShown = performance.now());
    times = times.filter((time) => now - time < 2000);
    times.push(now);
    const span = now - times[0];
    const each = times.length > 2 ? (1000 * (times.length - 1)) / span : 0;
    answer.hidden = false;
    rate.hidden = !each;
    rate.textContent = `${each.toFixed(0)} ${settings.words.rate}`;
    root.dataset.rate = each.toFixed(2);
    answer.classList.toggle("unknown", found.unknown);
    label.textContent = found.unknown ? settings.words.unknown : found.label;
    sure.textContent = found.unknown ? `(${found.label} ${percent(found.probability)})` : percent(found.probability);
    why.hidden = found.unknown || !found.overruled;
    why.textContent = why.hidden ? "" : overruled(found);
    bars.replaceChildren(...found.top.map(bar));
  }

  function bar(item) {
    const row = document.createElement("div");
    row.className = "bar";
    element("span", "name", row).textContent = item.label;
    const fill = element("span", "fill", element("span", "track", row));
    fill.style.cssText = `display: block; width: ${(100 * item.probability).toFixed(1)}%`;
    element("span", "number", row).textContent = percent(item.probability);
    return row;
  }

  toggle.addEventListener("click", () => { if (stream) { stop(); draw(); } else start(); });
  flip.addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    stop();
    start();
  });

  return {
    use(data) { settings = data; draw(); },
    close() { stop(); },
  };
}
