// The search page: asks the server, draws a card a hit, plays one sound at a time.

const $ = (id) => document.getElementById(id);
const KEY = "harken-api-key";
const TOP = 12;
const chosen = new Set();
let last = null; // the request that was answered last, to repeat with other filters
let asked = 0; // requests sent; an answer that is not the newest is dropped
let sound = null; // what is playing: {audio, card}
let recorder = null;

async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    const given = prompt("This server asks for an API key:");
    if (given) {
      sessionStorage.setItem(KEY, given);
      return ask(path, options);
    }
  }
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Error(body?.error?.message ?? `the server answered ${response.status}`);
  }
  return response;
}

function json(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

// query: {text}, {file} or {like}; what: how the status line calls it.
async function search(query, what) {
  last = { query, what };
  const number = ++asked;
  $("error").hidden = true;
  $("status").textContent = "Searching …";
  const common = { k: TOP, tags: [...chosen], instruction: $("instruction").value || null };
  try {
    let response;
    if (query.file) {
      const form = new FormData();
      form.append("file", query.file);
      form.append("k", TOP);
      for (const tag of chosen) form.append("tags", tag);
      if (common.instruction) form.append("instruction", common.instruction);
      response = await ask("/v1/search/file", { method: "POST", body: form });
    } else if (query.like !== undefined) {
      response = await json("/v1/search", { ...common, like: query.like });
    } else {
      const rerank = $("rerank").checked;
      response = await json("/v1/search", { ...common, query: query.text, rerank });
    }
    const answer = await response.json();
    if (number === asked) show(answer, what);
  } catch (error) {
    if (number !== asked) return;
    $("hits").replaceChildren();
    $("status").textContent = "";
    $("error").textContent = error.message;
    $("error").hidden = false;
  }
}

function show(answer, what) {
  stop();
  const count = answer.hits.length;
  $("status").textContent = `${count} ${count === 1 ? "sound" : "sounds"} for ${what}, ${Math.round(answer.took_ms)} ms`;
  $("hits").replaceChildren(...answer.hits.map(card));
}

function card(hit) {
  const node = $("card").content.firstElementChild.cloneNode(true);
  const set = (name, text) => (node.querySelector(name).textContent = text);
  set(".rank", hit.rank);
  set(".name", hit.name);
  set(".caption", hit.caption ?? "");
  set(".own-tags", hit.tags.join(", "));
  set(".seconds", hit.duration_s ? `${hit.duration_s.toFixed(1)} s` : "");
  set(".score", score(hit));
  const play = node.querySelector(".play");
  play.setAttribute("aria-label", `Play ${hit.name}`);
  play.hidden = !hit.audio_url;
  play.addEventListener("click", () => toggle(node, hit));
  const more = node.querySelector(".more");
  more.setAttribute("aria-label", `More like ${hit.name}`);
  more.addEventListener("click", () => search({ like: hit.position }, `sounds like ${hit.name}`));
  node.addEventListener("keydown", (event) => onCardKey(event, node, play, more));
  if (hit.audio_url) draw(node.querySelector(".wave"), hit.position);
  return node;
}

function score(hit) {
  if (hit.p_yes === null || hit.p_yes === undefined) return hit.score.toFixed(3);
  return `P(Yes) ${hit.p_yes.toFixed(2)}, was ${hit.retrieval_rank}`;
}

async function draw(svg, position) {
  try {
    const peaks = await (await ask(`/v1/sounds/${position}/peaks`)).json();
    svg.replaceChildren(
      ...peaks.map((peak, i) => {
        const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        const height = Math.max(0.6, 24 * peak);
        for (const [name, value] of Object.entries({ x: i + 0.15, y: 12 - height / 2, width: 0.7, height })) {
          bar.setAttribute(name, value);
        }
        return bar;
      }),
    );
  } catch {
    svg.replaceChildren(); // a card without a picture is still a card; playing it says what is wrong
  }
}

async function toggle(node, hit) {
  const same = sound?.node === node;
  stop();
  if (same) return;
  const play = node.querySelector(".play");
  try {
    const url = URL.createObjectURL(await (await ask(hit.audio_url)).blob());
    const audio = new Audio(url);
    sound = { node, audio, url };
    audio.addEventListener("timeupdate", () => paint(node, audio.currentTime / audio.duration));
    audio.addEventListener("ended", stop);
    await audio.play();
    play.setAttribute("aria-pressed", "true");
    play.firstElementChild.textContent = "■";
  } catch (error) {
    stop();
    $("error").textContent = `${hit.name} cannot be played: ${error.message}`;
    $("error").hidden = false;
  }
}

function paint(node, share) {
  node.querySelectorAll(".wave rect").forEach((bar, i, all) => bar.classList.toggle("played", i < share * all.length));
}

function stop() {
  if (!sound) return;
  const { node, audio, url } = sound;
  sound = null;
  audio.pause();
  URL.revokeObjectURL(url);
  paint(node, 0);
  const play = node.querySelector(".play");
  play.removeAttribute("aria-pressed");
  play.firstElementChild.textContent = "▶";
}

function onCardKey(event, node, play, more) {
  if (event.target !== node) return;
  const go = { ArrowDown: node.nextElementSibling, ArrowUp: node.previousElementSibling ?? $("query") }[event.key];
  if (go) go.focus();
  else if (event.key === " " && !play.hidden) play.click();
  else if (event.key === "m") more.click();
  else return;
  event.preventDefault();
}

async function record() {
  if (recorder) return recorder.stop();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const pieces = [];
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
    recorder.addEventListener("stop", async () => {
      stream.getTracks().forEach((track) => track.stop());
      recorder = null;
      $("record").setAttribute("aria-pressed", "false");
      $("record").textContent = "Record";
      await search({ file: await wav(new Blob(pieces)) }, "your recording");
    });
    recorder.start();
    $("record").setAttribute("aria-pressed", "true");
    $("record").textContent = "Stop and search";
  } catch (error) {
    $("error").textContent = `The microphone cannot be used: ${error.message}`;
    $("error").hidden = false;
  }
}

// Browsers record formats that not every server can read; a WAV file every one can.
async function wav(blob) {
  const context = new AudioContext();
  const decoded = await context.decodeAudioData(await blob.arrayBuffer());
  context.close();
  const samples = decoded.getChannelData(0);
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (at, text) => [...text].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  word(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, decoded.sampleRate, true);
  bytes.setUint32(28, 2 * decoded.sampleRate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  word(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => bytes.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, value)), true));
  return new File([bytes], "recording.wav", { type: "audio/wav" });
}

function useFile(file) {
  if (file) search({ file }, file.name);
}

function again() {
  if (last) search(last.query, last.what);
}

async function start() {
  try {
    const index = await (await ask("/v1/index")).json();
    $("about").textContent = `${index.sounds} sounds, searched by what they are or by another sound. Model: ${index.model}.`;
    $("instruction-box").hidden = !index.instruction;
    $("rerank-box").hidden = !index.reranker;
    $("tags-box").hidden = !index.tags.length;
    $("tags").replaceChildren(...index.tags.slice(0, 24).map(tagButton));
  } catch (error) {
    $("error").textContent = error.message;
    $("error").hidden = false;
  }
}

function tagButton(tag) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = tag;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    chosen.has(tag) ? chosen.delete(tag) : chosen.add(tag);
    button.setAttribute("aria-pressed", String(chosen.has(tag)));
    again();
  });
  return button;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("query").value.trim();
  if (text) search({ text }, `“${text}”`);
});
$("file").addEventListener("change", (event) => {
  useFile(event.target.files[0]);
  event.target.value = "";
});
$("record").addEventListener("click", record);
$("rerank").addEventListener("change", again);
$("query").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") $("hits").firstElementChild?.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) {
    event.preventDefault();
    $("query").focus();
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  useFile(event.dataTransfer.files[0]);
});
start();
