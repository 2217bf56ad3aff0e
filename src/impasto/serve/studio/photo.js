// Pictures and videos that people give: read, told apart from what is none, and made small enough to be sent.

import { blob } from './api.js';

const DRAFT_SIDE = 1024;
const PHONE_PIXELS = 16e6;
const SERVER_READS = /\.(heic|heif|tiff?|avif|bmp)$/i; // formats that many browsers do not know

const VIDEO = /\.(mp4|m4v|mov|mkv|webm|avi)$/i;

export class NotAPicture extends Error {}

export const isVideo = (file) => file.type.startsWith('video/') || VIDEO.test(file.name ?? '');

// A video as the page works with it: a photo whose draft is its first frame, with {seconds} as `video`.
export async function readVideo(file) {
  const { blob: draft, seconds } = await firstFrame(file) ?? { blob: await converted(file, 'video').catch((error) => { throw error.status === 422 ? new NotAPicture(file.name) : error; }), seconds: 0 };
  const { width, height } = await sizeOf(draft);
  return { id: await digest(draft), name: file.name || 'video.mp4', blob: file, draft, width, height, shrunk: 0, video: { seconds } };
}

// Its first frame as JPEG, and its length; null for a video that the browser does not play.
async function firstFrame(file) {
  const address = URL.createObjectURL(file);
  const video = document.createElement('video');
  try {
    video.muted = true;
    video.preload = 'auto';
    await new Promise((resolve, reject) => { video.onloadeddata = resolve; video.onerror = reject; video.src = address; setTimeout(reject, 8000); });
    const { videoWidth: width, videoHeight: height, duration } = video;
    if (!width) return null;
    return { blob: await drawn(video, width, height), seconds: Number.isFinite(duration) ? duration : 0 };
  } catch {
    return null;
  } finally {
    video.removeAttribute('src');
    URL.revokeObjectURL(address);
  }
}

async function drawn(source, width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d').drawImage(source, 0, 0, width, height);
  const made = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.93));
  canvas.width = 0;
  return made;
}

// A picture as the page works with it: {id, name, blob, draft, width, height, shrunk}.
export async function readPhoto(file, limits) {
  let source = file;
  let size = await sizeOf(source);
  if (!size && (SERVER_READS.test(file.name ?? '') || file.type.startsWith('image/'))) {
    source = await converted(file).catch((error) => { throw error.status === 422 ? new NotAPicture(file.name) : error; });
    size = await sizeOf(source);
  }
  if (!size) throw new NotAPicture(file.name);
  const most = Math.min(limits.max_pixels, onPhone() ? PHONE_PIXELS : Infinity);
  const pixels = size.width * size.height;
  const share = Math.min(1, Math.sqrt(most / pixels), file.size > 0.8 * limits.body_bytes ? Math.sqrt((most / pixels) * 0.5) : 1);
  const whole = share < 1 || source !== file ? await scaled(source, size, share) : { blob: file, ...size };
  const draftShare = Math.min(1, DRAFT_SIDE / Math.max(size.width, size.height));
  const draft = draftShare < 1 ? (await scaled(source, size, draftShare)).blob : whole.blob;
  const name = share < 1 || source !== file ? `${(file.name ?? 'photo').replace(/\.\w+$/, '')}.jpg` : file.name || 'photo.png';
  return { id: await digest(draft), name, blob: whole.blob, draft, width: whole.width, height: whole.height, shrunk: share < 1 ? pixels : 0 };
}

const onPhone = () => matchMedia('(pointer: coarse)').matches && (navigator.deviceMemory ?? 4) <= 4;

// Width and height, upright, without decoding the whole; null for what the browser cannot show.
async function sizeOf(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => { image.onload = resolve; image.onerror = reject; image.src = address; });
    return image.naturalWidth ? { width: image.naturalWidth, height: image.naturalHeight } : null;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(address);
  }
}

async function converted(file, field = 'content') {
  const form = new FormData();
  form.append(field, file, file.name);
  return blob('/v1/preview', { method: 'POST', body: form });
}

// The same picture with its sides times `share`, as JPEG; the browser scales while it decodes.
async function scaled(file, size, share) {
  const width = Math.max(1, Math.floor(size.width * share));
  const height = Math.max(1, Math.floor(size.height * share));
  const bitmap = await createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' });
  const made = await drawn(bitmap, width, height);
  bitmap.close();
  if (!made) throw new NotAPicture(file.name);
  return { blob: made, width, height };
}

async function digest(data) {
  if (!crypto.subtle) return String(Math.random()).slice(2); // not on a page without TLS
  const found = new Uint8Array(await crypto.subtle.digest('SHA-256', await data.arrayBuffer()));
  return [...found.slice(0, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
