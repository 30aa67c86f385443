/** Cameras and video files, frame by frame. */

import { grabFrame } from './decode.js';

/** Seconds over which frames are counted. */
const WINDOW = 2;

/**
 * @returns {Promise<HTMLVideoElement>} playing; the one behind a phone is preferred
 */
export async function openCamera() {
  if (!navigator.mediaDevices) throw new Error('this browser gives a page no camera.');
  const wanted = { facingMode: 'environment', width: { ideal: 640 }, height: { ideal: 480 } };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch {
    throw new Error('no camera, or its use was not allowed; connect one and allow it.');
  }
  const video = makeVideo();
  video.srcObject = stream;
  await video.play();
  return video;
}

/**
 * @param {File} file
 * @returns {Promise<HTMLVideoElement>} playing, again and again
 */
export async function openVideo(file) {
  const video = makeVideo();
  video.loop = true;
  video.src = URL.createObjectURL(file);
  try {
    await video.play();
  } catch {
    close(video);
    throw new Error(`${file.name}: not a video that this browser plays; open an MP4 or WebM file.`);
  }
  return video;
}

/**
 * Shows frame after frame until it is stopped; frames that come meanwhile are dropped.
 * While one frame is shown, the network works on the next.
 *
 * @template T
 * @param {HTMLVideoElement} video
 * @param {(grey: import('./images.js').Grey) => Promise<T>} ask
 * @param {(answer: T) => void} show
 * @param {AbortSignal} signal
 */
export async function watch(video, ask, show, signal) {
  // At once, not with the next frame: a hidden page gets none, and a camera stays on.
  const end = () => close(video);
  if (signal.aborted) return end();
  signal.addEventListener('abort', end, { once: true });
  /** @type {Promise<T> | undefined} */
  let asked;
  try {
    while (!signal.aborted) {
      await nextFrame(video);
      const grey = grabFrame(video);
      const answer = await asked;
      if (signal.aborted) return;
      asked = ask(grey);
      if (answer) show(answer);
    }
  } catch (error) {
    end();
    throw error;
  }
}

/** Counts what is shown. */
export function makeMeter() {
  /** @type {number[]} */
  let times = [];
  return {
    /** @returns {number} frames a second, with this one */
    tick() {
      const now = performance.now() / 1000;
      times = [...times.filter((time) => time > now - WINDOW), now];
      return times.length > 1 ? (times.length - 1) / (now - times[0]) : 0;
    },
  };
}

function makeVideo() {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  return video;
}

/** @param {HTMLVideoElement} video */
function nextFrame(video) {
  return new Promise((resolve) => {
    // Not in every browser.
    if ('requestVideoFrameCallback' in video) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

/** @param {HTMLVideoElement} video */
function close(video) {
  video.pause();
  if (video.srcObject instanceof MediaStream) {
    for (const track of video.srcObject.getTracks()) track.stop();
  }
  if (video.src) URL.revokeObjectURL(video.src);
}
