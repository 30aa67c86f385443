"""Pictures that are not breast B-mode images, for benchmarks/referral.py.

Photographs and a magnetic resonance slice come with scikit-learn and Matplotlib; the
rest is drawn. Each function takes a random generator and gives uint8 `(height, width)`.
"""

import gzip
from functools import cache

import numpy as np
from matplotlib import cbook
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

from keras_efsnet.images.grey import to_grey

WORDS = ("Depth", "Gain", "Freeze", "Print", "Menu", "Report", "Exam", "Date", "MHz")


def photograph(rng):
    image = _photographs()[rng.integers(3)]
    height, width = image.shape
    part = rng.uniform(0.35, 1)
    tall, wide = int(part * height), int(part * width)
    top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    return image[top : top + tall, left : left + wide]


@cache
def _photographs():
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        portrait = np.asarray(Image.open(file).convert("RGB"))
    return [to_grey(image) for image in (*load_sample_images().images, portrait)]


def magnetic_resonance(rng):
    with gzip.open(cbook.get_sample_data("s1045.ima.gz", asfileobj=False)) as file:
        head = np.frombuffer(file.read(), np.uint16).reshape(256, 256)
    top, bottom, left, right = rng.integers(0, 40, 4)
    bright = head / head.max() * 255 * rng.uniform(0.8, 1.5)
    return _grey(bright[top : 256 - bottom, left : 256 - right])


def uniform_noise(rng):
    return rng.integers(0, 256, (400, 500)).astype(np.uint8)


def gaussian_noise(rng):
    return _grey(rng.normal(rng.uniform(60, 160), rng.uniform(10, 60), (400, 500)))


def blurred_noise(rng):
    noise = gaussian_filter(rng.normal(size=(400, 500)), rng.uniform(1, 6))
    return _grey(noise / noise.std() * rng.uniform(15, 50) + rng.uniform(60, 130))


def plain_colour(rng):
    return np.full((400, 500), rng.integers(0, 256), np.uint8)


def gradient(rng):
    y, x = np.mgrid[:400, :500]
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x / 500 + np.sin(angle) * y / 400
    return _grey(255 * (slope - slope.min()) / np.ptp(slope))


def scanner_menu(rng):
    picture = Image.new("L", (800, 600), int(rng.integers(0, 70)))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(4, 9)):
        x, y = rng.integers(0, 600), rng.integers(0, 450)
        width, height = rng.integers(100, 300), rng.integers(50, 250)
        fill, outline = int(rng.integers(20, 180)), int(rng.integers(150, 255))
        draw.rectangle((x, y, x + width, y + height), fill=fill, outline=outline)
        for line in range(height // 26):
            _write(draw, (x + 8, y + 6 + 26 * line), _text(rng, 3), 230, 16)
    return np.asarray(picture)


def document(rng):
    picture = Image.new("L", (700, 900), int(rng.integers(225, 256)))
    draw = ImageDraw.Draw(picture)
    _write(draw, (60, 40), _text(rng, 3), 0, 32)
    for line in range(rng.integers(15, 32)):
        _write(draw, (60, 100 + 24 * line), _text(rng, rng.integers(5, 11)), 20, 15)
    return np.asarray(picture)


def table(rng):
    picture = Image.new("L", (800, 600), 250)
    draw = ImageDraw.Draw(picture)
    rows, columns = rng.integers(6, 18), rng.integers(3, 8)
    ys = np.linspace(20, 580, rows + 1).astype(int).tolist()
    xs = np.linspace(20, 780, columns + 1).astype(int).tolist()
    for y in ys:
        draw.line((20, y, 780, y), fill=90)
    for x in xs:
        draw.line((x, 20, x, 580), fill=90)
    for y in ys[:-1]:
        for x in xs[:-1]:
            _write(draw, (x + 6, y + 4), _text(rng, 1), 20, 14)
    return np.asarray(picture)


def chest_x_ray(rng):
    y, x = np.mgrid[:500, :420]
    body = np.exp(-(((x - 210) / 180) ** 4))
    grey = rng.uniform(20, 60) + 120 * body + 60 * np.exp(-(((x - 215) / 22) ** 2))
    for side in (-90, 90):
        lung = ((x - 210 - side) / 60) ** 2 + ((y - 260) / 150) ** 2
        grey -= 80 * np.exp(-(lung**2))
    for rib in range(9):
        arch = (y - 90 - 42 * rib - 0.3 * abs(x - 210)) / 7
        grey += 18 * np.exp(-(arch**2)) * body
    return _grey(gaussian_filter(grey, 3) + rng.normal(0, rng.uniform(1, 4), y.shape))


def computed_tomography(rng):
    y, x = np.mgrid[-256:256, -256:256]
    grey = np.zeros(y.shape)
    body = (x / rng.uniform(190, 230)) ** 2 + (y / rng.uniform(140, 180)) ** 2
    grey[body < 1] = 60
    grey[body < 0.88] = rng.uniform(95, 130)
    for _ in range(rng.integers(4, 9)):
        organ = _ellipse(rng, y, x, (-80, 80), (-120, 120), (15, 60)) & (body < 0.85)
        grey[organ] = rng.uniform(40, 180)
    grey[(x / 22) ** 2 + ((y - 90) / 24) ** 2 < 1] = 240
    noise = rng.normal(0, rng.uniform(3, 8), y.shape) * (body < 1.02)
    return _grey(gaussian_filter(grey, 1) + noise)


def wire_phantom(rng):
    y, x = np.mgrid[:480, :520]
    echo = _speckle(rng, y.shape) * 10 ** (-rng.uniform(35, 50) / 20)
    columns = (rng.uniform(100, 160), 260, rng.uniform(360, 420))
    for depth in np.linspace(50, 430, rng.integers(5, 9)):
        for column in columns:
            wire = ((x - column) / rng.uniform(3, 7)) ** 2 + ((y - depth) / 2) ** 2
            echo += rng.choice([0, 1.5], p=[0.3, 0.7]) * np.exp(-wire)
    return _compress(echo, 60)


def cyst_phantom(rng):
    y, x = np.mgrid[:480, :520]
    echo = 0.35 * _speckle(rng, y.shape)
    for depth in np.linspace(80, 400, 4):
        for column in np.linspace(90, 430, 4):
            inside = np.hypot(x - column, y - depth) < rng.uniform(10, 28)
            echo[inside] *= 10 ** (rng.choice([-30, -12, -6, 6]) / 20)
    return _compress(echo, 60)


def curved_array(rng):
    y, x = np.mgrid[:480, :600]
    apex = rng.uniform(60, 140)
    radius, angle = np.hypot(x - 300, y + apex), np.arctan2(x - 300, y + apex)
    texture = gaussian_filter(rng.normal(size=y.shape), 18)
    echo = 0.3 * _speckle(rng, y.shape, 4, 1.5)
    echo *= 10 ** (texture / texture.std() * 5 / 20)
    for _ in range(3):
        echo[_ellipse(rng, y, x, (120, 380), (180, 420), (10, 50))] *= 0.03
    diaphragm = (radius - apex - rng.uniform(250, 400)) / 5
    grey = _compress(echo * (1 + 2 * np.exp(-(diaphragm**2))), 60)
    outside = (abs(angle) > rng.uniform(0.45, 0.7)) | (abs(radius - apex - 225) > 215)
    return np.where(outside, np.uint8(0), grey)


def motion_mode(rng):
    y, x = np.mgrid[:480, :640]
    echo = 0.1 * _speckle(rng, y.shape, 1.2, 1.2)
    for _ in range(rng.integers(4, 8)):
        wave = np.sin(2 * np.pi * x / rng.uniform(60, 140) + rng.uniform(0, 6))
        apart = y - rng.uniform(60, 440) - rng.uniform(2, 25) * wave
        wall = np.exp(-((apart / rng.uniform(2, 9)) ** 2))
        echo += rng.uniform(0.2, 1) * wall * _speckle(rng, y.shape, 1, 1)
    return _compress(echo, 55)


def doppler_spectrum(rng):
    y, x = np.mgrid[:400, :640]
    beat = (x % rng.uniform(100, 180)) / 180
    pulse = np.exp(-(((beat - 0.2) / 0.1) ** 2)) + 0.45 * np.exp(-((beat / 0.6) ** 2))
    edge = rng.uniform(100, 170) * (pulse + 0.2)
    height = 280 - y
    flow = 0.2 + 0.6 * np.exp(-(((height - 0.85 * edge) / 18) ** 2))
    on = (height > 0) & (height < edge)
    grey = _compress(_speckle(rng, y.shape, 1, 1) * np.where(on, flow, 0.004), 50)
    grey[279:281] = 150
    return grey


KINDS = {
    maker.__name__.replace("_", " "): maker
    for maker in (
        *(photograph, magnetic_resonance, chest_x_ray, computed_tomography),
        *(uniform_noise, gaussian_noise, blurred_noise, plain_colour, gradient),
        *(scanner_menu, document, table),
        *(wire_phantom, cyst_phantom, curved_array, motion_mode, doppler_spectrum),
    )
}


def _grey(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def _text(rng, words):
    return " ".join(rng.choice(WORDS, words))


def _write(draw, place, text, fill, size):
    draw.text(place, text, fill=fill, font=ImageFont.load_default(size))


def _ellipse(rng, y, x, centre_y, centre_x, radius):
    tall, wide = rng.uniform(*radius, 2)
    apart_y, apart_x = y - rng.uniform(*centre_y), x - rng.uniform(*centre_x)
    return (apart_y / tall) ** 2 + (apart_x / wide) ** 2 < 1


def _speckle(rng, shape, across=2.5, along=1.2):
    """Fully developed speckle of mean 1: the envelope of blurred complex noise."""
    parts = (gaussian_filter(rng.normal(size=shape), (along, across)) for _ in range(2))
    envelope = np.hypot(*parts)
    return envelope / envelope.mean()


def _compress(echo, decibels):
    """Log compression: an echo of 1 is light grey, `decibels` below it is black."""
    return _grey(200 * (1 + 20 * np.log10(np.maximum(echo, 1e-6)) / decibels))
