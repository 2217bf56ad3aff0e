/** The page: what to paint, in which styles, and what comes of it. */

import { Painter } from './painter.js';
import { styleName, switchLanguage, text, writeTexts } from './texts.js';

const SIDES = [256, 384, 512, 768, 1024, 1536, 2048];
const LIVE_SIDE = { webgpu: 2, wasm: 0 }; // places in SIDES that most machines keep up with
const LEAST = 32; // pixels along a side that a network needs
const SMOOTH = 0.85; // of the frame rate shown is what it was before

const element = id => document.getElementById(id);
const canvas = element('canvas');
const output = canvas.getContext('2d');
const drawing = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });

const page = {
  networks: [], // of networks.json
  network: null, // the one that is chosen
  weights: new Map(), // of the styles that are chosen, by name
  source: null, // {kind: 'photo' | 'video' | 'camera', media, width, height, name, mirrored}
  painted: null, // ImageData
  plain: null, // ImageData, before painting
  comparing: false,
  state: null, // {backend, threads} of the painter
  turn: 0, // counts sources, so that an old one stops
};

const painter = new Painter();
let opened = null; // of the network that is loaded: a promise
let due = false;
let working = false;

// --- start ------------------------------------------------------------------------------------------------------------

/** Let the service worker answer for the page: it adds the headers without which there are no threads. */
async function controlled() {
  if (!('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register('service-worker.js');
    await Promise.race([navigator.serviceWorker.ready, new Promise(resolve => setTimeout(resolve, 3000))]);
  } catch {
    return; // a browser in private mode, say: it goes without
  }
  if (!crossOriginIsolated && !sessionStorage.getItem('reloaded')) {
    sessionStorage.setItem('reloaded', 'yes');
    location.reload();
    await new Promise(() => {});
  }
}

async function start() {
  writeTexts();
  say('loading');
  element('busy').hidden = false;
  await controlled();
  page.networks = (await (await fetch('networks.json')).json()).networks;
  for (const network of page.networks) showNetwork(network);
  const [first] = page.networks;
  page.network = first;
  page.weights.set(first.styles[Math.min(1, first.styles.length - 1)].name, 1);
  showSize(SIDES.indexOf(768));
  showChosen();
  const sample = await (await fetch('sample.jpg')).blob();
  await openPhoto(sample, 'sample');
}

// --- styles -----------------------------------------------------------------------------------------------------------

function showNetwork(network) {
  const group = document.createElement('fieldset');
  group.className = 'network';
  const legend = document.createElement('legend');
  legend.textContent = network.name;
  legend.hidden = page.networks.length < 2;
  group.append(legend);
  for (const style of network.styles) group.append(styleButton(network, style));
  element('styles').append(group);
}

function styleButton(network, style) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'style';
  button.title = style.painting;
  button.dataset.network = network.name;
  button.dataset.style = style.name;
  const picture = document.createElement('img');
  picture.src = style.thumbnail;
  picture.alt = '';
  const name = document.createElement('span');
  name.textContent = styleName(style.name);
  button.append(picture, name);
  button.onclick = () => toggle(network, style.name);
  return button;
}

function toggle(network, name) {
  if (network !== page.network) {
    page.network = network;
    page.weights = new Map([[name, 1]]);
  } else if (!page.weights.has(name)) {
    page.weights.set(name, 1);
  } else if (page.weights.size > 1) {
    page.weights.delete(name);
  }
  showChosen();
  repaint();
}

function showChosen() {
  for (const button of document.querySelectorAll('.style')) {
    const { network, style } = button.dataset;
    button.ariaPressed = network === page.network.name && page.weights.has(style);
    button.querySelector('span').textContent = styleName(style);
  }
  const mix = page.weights.size > 1 ? [...page.weights.keys()].map(mixSlider) : [];
  element('mix').replaceChildren(...mix);
  const licences = new Set(page.network.styles.filter(style => page.weights.has(style.name)).map(style => style.licence));
  element('licence').textContent = text('trained', { name: page.network.name, licence: [...licences].join(', ') || '–' });
}

function mixSlider(name) {
  const row = document.createElement('div');
  row.className = 'slider';
  const label = document.createElement('label');
  const shown = document.createElement('output');
  const slider = document.createElement('input');
  label.textContent = styleName(name);
  label.htmlFor = slider.id = `mix-${name}`;
  Object.assign(slider, { type: 'range', min: 0, max: 100, value: Math.round(100 * page.weights.get(name)) });
  shown.textContent = `${slider.value} %`;
  slider.oninput = () => {
    page.weights.set(name, slider.value / 100);
    shown.textContent = `${slider.value} %`;
    repaint();
  };
  row.append(label, shown, slider);
  return row;
}

/** The mean of the chosen styles' codes; evenly where all sliders are at zero. */
function mixedCode() {
  const chosen = page.network.styles.filter(style => page.weights.has(style.name));
  let shares = chosen.map(style => page.weights.get(style.name));
  if (shares.every(share => share === 0)) shares = shares.map(() => 1);
  const total = shares.reduce((sum, share) => sum + share);
  return chosen[0].code.map((_, at) => chosen.reduce((sum, style, i) => sum + (shares[i] / total) * style.code[at], 0));
}

// --- sources ----------------------------------------------------------------------------------------------------------

async function openFile(file) {
  if (!file) return;
  const name = file.name.replace(/\.[^.]*$/, '');
  if (file.type.startsWith('video/')) await openVideo(file, name);
  else await openPhoto(file, name);
}

async function openPhoto(blob, name) {
  let media;
  try {
    media = await createImageBitmap(blob);
  } catch {
    return say('unreadable', {}, true);
  }
  take({ kind: 'photo', media, width: media.width, height: media.height, name });
}

async function openVideo(blob, name) {
  const media = document.createElement('video');
  Object.assign(media, { src: URL.createObjectURL(blob), muted: true, loop: true, playsInline: true });
  try {
    await media.play();
  } catch {
    return say('unreadable', {}, true);
  }
  take({ kind: 'video', media, width: media.videoWidth, height: media.videoHeight, name });
}

async function openCamera() {
  if (page.source?.kind === 'camera') return closeCamera();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'user', width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    return say('refused', { reason: error.message }, true);
  }
  const media = document.createElement('video');
  Object.assign(media, { srcObject: stream, muted: true, playsInline: true });
  await media.play();
  take({ kind: 'camera', media, width: media.videoWidth, height: media.videoHeight, name: 'camera', mirrored: true });
}

/** The last frame stays, as a photo. */
async function closeCamera() {
  if (page.plain) await openPhoto(await toBlob(page.plain), 'camera');
}

function take(source) {
  release(page.source);
  const wasLive = isLive();
  page.source = source;
  page.turn += 1;
  page.painted = page.plain = null;
  if (isLive() && !wasLive) showSize(LIVE_SIDE[page.state?.backend ?? 'wasm']);
  if (!isLive() && wasLive) showSize(SIDES.indexOf(768));
  stopRecording();
  element('record').hidden = !isLive();
  element('camera').ariaPressed = source.kind === 'camera';
  if (isLive()) runLive(page.turn);
  else repaint();
}

function release(source) {
  if (!source) return;
  if (source.kind === 'camera') for (const track of source.media.srcObject.getTracks()) track.stop();
  if (source.kind === 'video') {
    source.media.pause();
    URL.revokeObjectURL(source.media.src);
  }
  if (source.kind === 'photo') source.media.close();
}

function isLive() {
  return page.source !== null && page.source.kind !== 'photo';
}

/** The source as ImageData, within the longest side; photographs keep their own size where it is smaller. */
function frame() {
  const { media, width, height, mirrored } = page.source;
  const scale = Math.min(1, SIDES[element('size').value] / Math.max(width, height));
  const sides = [width, height].map(side => Math.max(LEAST, Math.round(side * scale)));
  [drawing.canvas.width, drawing.canvas.height] = sides;
  drawing.imageSmoothingQuality = 'high';
  drawing.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? sides[0] : 0, 0);
  drawing.drawImage(media, 0, 0, ...sides);
  return drawing.getImageData(0, 0, ...sides);
}

// --- painting ---------------------------------------------------------------------------------------------------------

async function paintFrame() {
  if (opened?.network !== page.network) {
    const { network } = page;
    const wanted = new URL(location.href).searchParams.get('backend');
    const done = painter.open(new URL(network.file, location.href).href, network.styles[0].code.length, wanted);
    opened = { network, done };
  }
  page.state = await opened.done;
  const plain = frame();
  const done = await painter.paint(plain, mixedCode(), element('strength').value / 100);
  page.state = { backend: done.backend, threads: done.threads };
  return { plain, painted: done.image, milliseconds: done.milliseconds };
}

/** Paint the photograph; when something changes meanwhile, once more. */
async function repaint() {
  due = true;
  if (working || isLive() || page.source === null) return;
  working = true;
  element('busy').hidden = false;
  try {
    while (due && !isLive()) {
      due = false;
      const turn = page.turn;
      say(page.state ? 'painting' : 'loading');
      const { plain, painted, milliseconds } = await paintFrame();
      if (turn !== page.turn) continue;
      show(plain, painted);
      const { width, height } = painted;
      say('done', { width, height, seconds: (milliseconds / 1000).toFixed(2), backend: backendName() });
    }
  } catch (error) {
    opened = null;
    fail(error);
  } finally {
    working = false;
    element('busy').hidden = true;
  }
}

async function runLive(turn) {
  while (working) await new Promise(resolve => setTimeout(resolve, 20));
  let rate = 0;
  let before = performance.now();
  element('busy').hidden = page.state !== null;
  try {
    while (turn === page.turn) {
      await nextFrame(page.source.media);
      const { plain, painted } = await paintFrame();
      if (turn !== page.turn) break;
      show(plain, painted);
      const now = performance.now();
      rate = rate ? SMOOTH * rate + (1 - SMOOTH) * (1000 / (now - before)) : 1000 / (now - before);
      before = now;
      element('busy').hidden = true;
      const { width, height } = painted;
      say('rate', { rate: rate.toFixed(1), width, height, backend: backendName() });
    }
  } catch (error) {
    opened = null;
    fail(error);
  }
}

/** When there is a new frame to be seen; at once where the browser does not tell. */
function nextFrame(media) {
  return new Promise(resolve => {
    setTimeout(resolve, 200); // a film that has paused, or a tab that is not seen
    if (media.requestVideoFrameCallback) media.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

function show(plain, painted) {
  Object.assign(page, { plain, painted });
  const shown = page.comparing ? plain : painted;
  if (canvas.width !== shown.width || canvas.height !== shown.height) {
    [canvas.width, canvas.height] = [shown.width, shown.height];
  }
  output.putImageData(shown, 0, 0);
}

// --- words ------------------------------------------------------------------------------------------------------------

let said = ['loading', {}, false];

function say(key, values = {}, wrong = false) {
  said = [key, values, wrong];
  const told = text(key, { ...values, backend: values.backend && backendName() });
  const status = element('status');
  if (status.textContent !== told) status.textContent = told;
  status.classList.toggle('wrong', wrong);
}

function fail(error) {
  element('busy').hidden = true;
  const full = /memory|alloc|bad_alloc/i.test(error.message);
  say(full ? 'smaller' : 'failed', { reason: error.message.split('\n')[0].slice(0, 200) }, true);
}

function backendName() {
  if (page.state.backend === 'webgpu') return text('webgpu');
  return page.state.threads > 1 ? text('wasm', page.state) : text('single');
}

function showSize(place) {
  element('size').value = place;
  element('size-value').textContent = text('pixels', { side: SIDES[place] });
}

// --- download and recording -------------------------------------------------------------------------------------------

async function toBlob(image, type = 'image/png') {
  const copy = new OffscreenCanvas(image.width, image.height);
  copy.getContext('2d').putImageData(image, 0, 0);
  return copy.convertToBlob({ type });
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function download() {
  if (page.painted) save(await toBlob(page.painted), `${page.source.name}-${[...page.weights.keys()].join('-')}.png`);
}

let recorder = null;

function record() {
  if (recorder) return stopRecording();
  const parts = [];
  const type = ['video/mp4;codecs=avc1.640028', 'video/webm;codecs=vp9', 'video/webm'].find(one => MediaRecorder.isTypeSupported(one));
  recorder = new MediaRecorder(canvas.captureStream(), { mimeType: type, videoBitsPerSecond: 12_000_000 });
  const name = `${page.source.name}.${type.slice(6).split(';')[0]}`;
  recorder.ondataavailable = event => parts.push(event.data);
  recorder.onstop = () => save(new Blob(parts, { type: type.split(';')[0] }), name);
  recorder.start();
  showRecording();
}

function stopRecording() {
  if (recorder?.state === 'recording') recorder.stop();
  recorder = null;
  showRecording();
}

function showRecording() {
  const button = element('record');
  button.ariaPressed = recorder !== null;
  button.textContent = text(recorder ? 'stop' : 'record');
}

// --- what the visitor does --------------------------------------------------------------------------------------------

function choose(accept) {
  Object.assign(element('file'), { accept, value: '' });
  element('file').click();
}

function compare(on) {
  page.comparing = on;
  element('compare').ariaPressed = on;
  if (page.painted) show(page.plain, page.painted);
}

function translate() {
  switchLanguage();
  writeTexts();
  canvas.ariaLabel = text('painted');
  showSize(element('size').value);
  showChosen();
  showRecording();
  say(...said);
}

element('language').onclick = translate;
element('photo').onclick = () => choose('image/*');
element('video').onclick = () => choose('video/*');
element('camera').onclick = openCamera;
element('file').onchange = event => openFile(event.target.files[0]);
element('compare').onclick = () => compare(!page.comparing);
element('download').onclick = download;
element('record').onclick = record;
element('strength').oninput = event => {
  element('strength-value').textContent = `${event.target.value} %`;
  repaint();
};
element('size').oninput = event => {
  showSize(event.target.value);
  repaint();
};

addEventListener('dragover', event => {
  event.preventDefault();
  element('frame').classList.add('dragging');
  element('drop').hidden = false;
});
for (const kind of ['dragleave', 'drop']) {
  addEventListener(kind, event => {
    event.preventDefault();
    if (kind === 'dragleave' && event.relatedTarget) return;
    element('frame').classList.remove('dragging');
    element('drop').hidden = true;
    if (kind === 'drop') openFile(event.dataTransfer.files[0]);
  });
}
addEventListener('paste', event => openFile([...event.clipboardData.files][0]));

start().catch(fail);
