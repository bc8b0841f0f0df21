// Pictures that get their labels by keys or by touch. All labels so far are handed over after each one.

// Keys of classes, by their place on the keyboard, so that they work with a Thai layout too.
const KEYS = [..."123456789"].map((key) => [`Digit${key}`, key]);
KEYS.push(...[..."QWERTYUIOPASDFGHJKLZXCVBNM"].map((key) => [`Key${key}`, key]));
const MOVES = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: "up", ArrowDown: "down" };

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".label");
  if (!root.label || root.label.token !== data.token) {
    root.label?.close();
    root.label = build(root, data);
  }
  root.label.use(data, (decisions) => setStateValue("decisions", decisions));
  // Streamlit also cleans up after a call that a later one has overtaken: then the page is still there.
  return () => root.isConnected || root.label?.close();
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function build(root, first) {
  const base = window.location.pathname.replace(/\/[^/]*$/, "/");
  const address = (number) => `${base}${first.path}${first.token}/${number}`;
  let words = first.words;
  let classes = [...first.classes];
  let cards = first.items.map((item) => ({ ...item, split: false }));
  let send = () => {};
  let here = 0;
  const picked = new Set(); // cards
  const decisions = new Map(Object.entries(first.decisions)); // number of a file -> label; "" is skipped
  const touched = new Set(); // numbers whose labels this window has changed: others may come from another window
  const past = []; // for undo: lists of [number, label before]

  root.replaceChildren();
  const bar = element("div", "bar");
  const top = element("div", "row");
  const count = element("span", "count");
  count.setAttribute("role", "status");
  const undoButton = commandButton("⌫", () => undo());
  const skipButton = commandButton("0", () => label(""));
  const guessButton = commandButton("↵", () => accept());
  guessButton.classList.add("usual");
  top.append(count, guessButton, skipButton, undoButton);
  const track = element("div", "track");
  const fill = element("i");
  track.append(fill);
  const list = element("div", "row classes");
  const input = element("input");
  input.type = "text";
  input.maxLength = 100;
  bar.append(top, track, list, input);
  const grid = element("div", "grid");
  const keys = element("div", "keys");
  root.append(bar, grid, keys);

  function commandButton(key, action) {
    const button = element("button");
    button.type = "button";
    button.append(element("kbd", "", key), element("span"));
    button.addEventListener("click", () => {
      action();
      root.focus({ preventScroll: true });
    });
    return button;
  }

  const labelOf = (card) => decisions.get(String(card.files[0]));
  const targets = () => (picked.size ? [...picked] : cards[here] ? [cards[here]] : []);

  function change(pairs) {
    past.push(pairs.map(([number]) => [number, decisions.get(number)]));
    for (const [number, label] of pairs) {
      decisions.set(number, label);
      touched.add(number);
    }
    handOver();
  }

  function handOver() {
    send(Object.fromEntries([...touched].map((number) => [number, decisions.get(number) ?? null])));
    draw();
  }

  function label(name, some = targets()) {
    if (!some.length) return;
    if (name && !classes.includes(name)) classes.push(name);
    change(some.flatMap((card) => card.files.map((number) => [String(number), name])));
    step(some);
  }

  function accept() {
    const some = targets();
    if (!some.length) return;
    change(some.flatMap((card) => card.files.map((number) => [String(number), card.guess])));
    step(some);
  }

  // The next picture without a label, after those that have just got one.
  function step(some) {
    picked.clear();
    const last = Math.max(...some.map((card) => cards.indexOf(card)));
    const order = [...cards.keys()].map((place) => (last + 1 + place) % cards.length);
    const next = order.find((place) => labelOf(cards[place]) === undefined);
    here = next ?? last;
    draw(true);
  }

  function undo() {
    const before = past.pop();
    if (!before) return;
    for (const [number, label] of before) label === undefined ? decisions.delete(number) : decisions.set(number, label);
    picked.clear();
    const place = cards.findIndex((card) => card.files.includes(Number(before[0][0])));
    if (place >= 0) here = place;
    handOver();
    show();
  }

  function split(card) {
    if (card.files.length < 2) return;
    const place = cards.indexOf(card);
    picked.delete(card);
    cards.splice(place, 1, ...card.files.map((number) => ({ ...card, files: [number], split: true })));
    here = place;
    draw(true);
  }

  function toggle(card) {
    picked.has(card) ? picked.delete(card) : picked.add(card);
  }

  function columns() {
    return getComputedStyle(grid).gridTemplateColumns.split(" ").length || 1;
  }

  function move(way, extend) {
    const by = way === "up" ? -columns() : way === "down" ? columns() : way;
    const next = here + by;
    if (next < 0 || next >= cards.length) return;
    if (extend) picked.add(cards[here]);
    here = next;
    if (extend) picked.add(cards[here]);
    draw(true);
  }

  function show() {
    grid.children[here]?.scrollIntoView({ block: "nearest" });
  }

  function press(event) {
    const target = event.composedPath()[0];
    const inside = event.composedPath().includes(root);
    if (target === input) return typed(event);
    const isBody = target === document.body || target === document.documentElement;
    if ((!inside && !isBody) || event.ctrlKey || event.metaKey || event.altKey) return;
    const isButton = target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ");
    if (isButton || !act(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  function act(event) {
    const pressed = event.code.replace("Numpad", "Digit");
    const place = KEYS.findIndex(([code]) => code === pressed);
    if (event.key in MOVES) move(MOVES[event.key], event.shiftKey);
    else if (event.key === "Enter") event.repeat || accept();
    else if (event.key === "Backspace") undo();
    else if (event.key === "Escape") picked.clear(), draw();
    else if (event.key === " ") cards[here] && toggle(cards[here]), draw();
    else if (event.key === "+" || event.code === "Equal") cards[here] && split(cards[here]);
    else if (event.key === "/" || event.code === "Slash") input.focus();
    else if (pressed === "Digit0") event.repeat || label("");
    else if (place >= 0 && place < classes.length && !event.repeat) label(classes[place]);
    else return false;
    return true;
  }

  // In the field: the first class whose name has the text, or a new one.
  const matching = () => {
    const text = input.value.trim().toLowerCase();
    return text ? classes.filter((name) => name.toLowerCase().includes(text)) : classes;
  };

  function typed(event) {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Escape") {
      input.value = "";
    } else if (event.key === "Enter") {
      const text = input.value.trim();
      const found = matching();
      const exact = classes.find((name) => name.toLowerCase() === text.toLowerCase());
      input.value = "";
      if (text) label(exact ?? found[0] ?? text);
    } else {
      return;
    }
    event.preventDefault();
    drawClasses();
    root.focus({ preventScroll: true });
  }

  function drawClasses() {
    const found = matching();
    const text = input.value.trim();
    const buttons = found.map((name) => {
      const key = KEYS[classes.indexOf(name)]?.[1];
      const button = element("button");
      button.type = "button";
      if (key && !text) button.append(element("kbd", "", key));
      button.append(element("span", "", name));
      button.addEventListener("click", () => choose(name));
      return button;
    });
    if (text && !classes.some((name) => name.toLowerCase() === text.toLowerCase())) {
      const button = element("button", "", `${words.add} “${text}”`);
      button.type = "button";
      button.addEventListener("click", () => choose(text));
      buttons.push(button);
    }
    list.replaceChildren(...buttons);
  }

  function choose(name) {
    input.value = "";
    label(name);
    drawClasses();
    root.focus({ preventScroll: true });
  }

  function drawCard(card, place) {
    const made = element("div", "card");
    made.setAttribute("role", "group");
    const frame = element("div", "frame");
    const image = element("img");
    image.loading = "lazy";
    image.alt = card.name;
    image.src = address(card.files[0]);
    frame.append(image);
    if (card.files.length > 1) {
      const more = element("button", "more", `+${card.files.length - 1} ${words.alike}`);
      more.type = "button";
      more.title = words.split;
      more.addEventListener("click", (event) => {
        event.stopPropagation();
        split(card);
        root.focus({ preventScroll: true });
      });
      frame.append(more);
    }
    made.append(frame, element("div", "why", card.why));
    made.addEventListener("click", (event) => {
      const [from, to] = [Math.min(here, place), Math.max(here, place)];
      if (event.shiftKey) cards.slice(from, to + 1).forEach((one) => picked.add(one));
      else toggle(card);
      here = place;
      root.focus({ preventScroll: true });
      draw();
    });
    return made;
  }

  let drawn = []; // the cards that the grid shows
  function draw(scroll = false) {
    if (drawn.length !== cards.length || drawn.some((card, place) => card !== cards[place])) {
      drawn = [...cards];
      grid.replaceChildren(...cards.map(drawCard));
    }
    cards.forEach((card, place) => {
      const shown = grid.children[place];
      const label = labelOf(card);
      shown.classList.toggle("here", place === here);
      shown.classList.toggle("picked", picked.has(card));
      shown.classList.toggle("done", label !== undefined);
      shown.querySelector(".is")?.remove();
      if (label !== undefined) shown.firstChild.append(element("span", label ? "is" : "is skip", label || words.skipped));
    });
    const done = cards.filter((card) => labelOf(card) !== undefined).length;
    const chosen = picked.size ? ` · ${words.selected.replace("#", picked.size)}` : "";
    count.textContent = (done === cards.length ? words.all_done : `${done} / ${cards.length} ${words.done}`) + chosen;
    fill.style.width = `${cards.length ? (100 * done) / cards.length : 0}%`;
    undoButton.disabled = !past.length;
    skipButton.disabled = guessButton.disabled = !cards.length;
    const guesses = new Set(targets().map((card) => card.guess));
    guessButton.lastChild.textContent = guesses.size === 1 ? [...guesses][0] : words.guess;
    if (list.children.length < classes.length && !input.value) drawClasses();
    if (scroll) show();
  }

  input.addEventListener("input", drawClasses);
  document.addEventListener("keydown", press, true);
  here = Math.max(0, cards.findIndex((card) => labelOf(card) === undefined));

  return {
    token: first.token,
    use(data, handOn) {
      send = handOn;
      words = data.words;
      for (const number of data.refused) decisions.delete(String(number));
      for (const [number, label] of Object.entries(data.decisions)) if (!touched.has(number)) decisions.set(number, label);
      for (const name of data.classes) if (!classes.includes(name)) classes.push(name);
      undoButton.lastChild.textContent = words.undo;
      skipButton.lastChild.textContent = words.skip;
      input.placeholder = words.find;
      input.setAttribute("aria-label", words.find);
      keys.textContent = words.keys;
      drawClasses();
      draw();
      if (document.activeElement === document.body) root.focus({ preventScroll: true });
    },
    close() {
      document.removeEventListener("keydown", press, true);
      root.label = null;
    },
  };
}
