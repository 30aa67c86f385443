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
 *
 * @param {HTMLVideoElement} video
 * @param {(grey: import('./images.js').Grey) => Promise<void>} show
 * @param {AbortSignal} signal
 */
export async function watch(video, show, signal) {
  try {
    while (!signal.aborted) {
      await nextFrame(video, signal);
      if (!signal.aborted) await show(grabFrame(video));
    }
  } finally {
    close(video);
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

/**
 * @param {HTMLVideoElement} video
 * @param {AbortSignal} signal
 */
function nextFrame(video, signal) {
  return new Promise((resolve) => {
    // A hidden page gets no more frames, and a camera must be let go at once.
    signal.addEventListener('abort', resolve, { once: true });
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
