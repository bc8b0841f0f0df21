"use strict";
const words = JSON.parse(document.body.dataset.words);
const byId = (id) => document.getElementById(id);
const result = byId("result");
let asked = 0;

function headers() {
  const key = byId("key").value.trim();
  return key ? { "X-API-Key": key } : {};
}

function query(more) {
  const values = new URLSearchParams(more);
  if (byId("model").value) values.set("model", byId("model").value);
  return values.toString();
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function percent(share) {
  if (share < 1 && share >= 0.9995) return "> 99.9 %";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return (100 * share).toFixed(1) + " %";
}

async function post(path, file) {
  const response = await fetch(path, { method: "POST", body: file, headers: headers() });
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new Error(told.error || response.statusText);
  }
  return response;
}

function show(answer) {
  const shown = [element("h2", (answer.unknown ? words.unknown + " (" + words.nearest + " " + answer.label + ")" : answer.label))];
  if (answer.overruled && !answer.unknown) {
    const values = { other: answer.overruled.label, share: percent(answer.overruled.probability), label: answer.label };
    shown.push(element("p", words.overruled.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all)));
  }
  for (const guess of answer.top) {
    const bar = element("div", undefined, "bar");
    const track = element("span");
    const fill = element("i");
    fill.style.width = (100 * guess.probability) + "%";
    track.append(fill);
    const name = element("span", guess.label);
    name.title = guess.label;
    bar.append(name, track, element("span", percent(guess.probability)));
    shown.push(bar);
  }
  result.replaceChildren(...shown);
}

async function look(file) {
  const mine = ++asked;
  result.replaceChildren(element("p", words.working));
  try {
    const answer = await (await post("v1/predict?" + query({ top: 5 }), file)).json();
    if (mine !== asked) return;
    show(answer);
    const drawing = await (await post("v1/explain?" + query({}), file)).blob();
    if (mine !== asked) return;
    const picture = element("img");
    picture.alt = words.evidence;
    picture.src = URL.createObjectURL(drawing);
    picture.onload = () => URL.revokeObjectURL(picture.src);
    result.append(picture);
  } catch (error) {
    if (mine === asked) result.append(element("p", words.failed + " " + error.message, "error"));
  }
  for (const waiting of result.querySelectorAll("p:not(.error)")) waiting.remove();
}

async function listModels() {
  const response = await fetch("v1/models", { headers: headers() });
  if (!response.ok) return;
  const names = [...new Set((await response.json()).models.map((model) => model.name))];
  byId("model").replaceChildren(...names.map((name) => { const option = element("option", name); option.value = name; return option; }));
  byId("models-row").hidden = names.length < 2;
}

byId("file").addEventListener("change", (event) => { if (event.target.files[0]) look(event.target.files[0]); });
const drop = document.querySelector(".drop");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files[0]) look(event.dataTransfer.files[0]);
});
byId("key-row").hidden = document.body.dataset.needsKey !== "true";
byId("key").addEventListener("change", listModels);
byId("curl").textContent = "curl --data-binary @cat.jpg " + new URL("v1/predict", document.baseURI.split("?")[0]).href;
listModels();
