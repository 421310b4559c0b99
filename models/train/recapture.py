"""Simulated cameras, screens and prints: what light does to a picture on its way through a medium and a sensor.

Pictures are float32, BGR, 0…1, display-referred (gamma encoded), any size; rng is a numpy Generator. Each function returns
a new picture of the same size. capture() is the last step for live and attacked faces alike, so that a net can't tell them
apart by the camera.
"""
import cv2
import numpy as np


def log_uniform(rng, a, b):
    return float(np.exp(rng.uniform(np.log(a), np.log(b))))


def field(rng, h, w, cells=3):
    """A smooth random field of about unit deviation."""
    g = rng.normal(0, 1, (int(rng.integers(2, cells + 2)), int(rng.integers(2, cells + 2)))).astype(np.float32)
    return cv2.resize(g, (w, h), interpolation=cv2.INTER_CUBIC)


def blur(img, sigma):
    return img if sigma < 0.25 else cv2.GaussianBlur(img, (0, 0), sigma)


def jpeg(img, quality):
    ok, data = cv2.imencode('.jpg', np.clip(img * 255, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255


def coarser(img, factor):
    """Loses detail as a picture of fewer pixels would."""
    h, w = img.shape[:2]
    small = cv2.resize(img, (max(12, int(w / factor)), max(12, int(h / factor))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)


def tint(rng, amount):
    t = rng.normal(0, amount)
    return np.array([t, rng.normal(0, amount / 4), -t], np.float32)


def light(img, rng):
    """Another light on the scene: gradients, colour, level. Linear light inside."""
    h, w = img.shape[:2]
    lin = np.clip(img, 0, 1) ** 2.2
    if rng.random() < .5:
        lin = lin * np.exp(field(rng, h, w, 1) * rng.uniform(.1, .7))[..., None]
    if rng.random() < .5:
        lin = lin * np.exp(tint(rng, .2))
    lin = lin * log_uniform(rng, .4, 1.7)
    return np.clip(lin, 0, 4) ** (1 / 2.2)


def capture(img, rng, strength=1.):
    """A camera: optics, exposure, white balance, noise, tone curve, chroma subsampling, sharpening, compression."""
    h, w = img.shape[:2]
    lin = np.clip(img, 0, 4) ** 2.2
    if rng.random() < .5:
        lin = blur(lin, log_uniform(rng, .25, 1.5) * strength)
    if rng.random() < .05:
        n = int(rng.integers(3, 9)) | 1
        k = np.zeros((n, n), np.float32)
        a = rng.uniform(0, np.pi)
        c = n // 2
        cv2.line(k, (int(c - c * np.cos(a)), int(c - c * np.sin(a))), (int(c + c * np.cos(a)), int(c + c * np.sin(a))), 1., 1)
        lin = cv2.filter2D(lin, -1, k / k.sum())
    target = log_uniform(rng, .06, .55)
    lin = lin * (target / (float(lin.mean()) + 1e-4)) ** rng.uniform(.2, 1.)
    lin = lin * np.exp(tint(rng, .1))
    if rng.random() < .25:
        lin = lin + rng.uniform(0, .05)  # veiling glare
    n = log_uniform(rng, .001, .03) * strength
    lin = lin + rng.standard_normal(lin.shape, dtype=np.float32) * np.sqrt(np.clip(lin, 0, 1) * n * n + (n * .3) ** 2)
    out = np.clip(lin, 0, 1) ** np.float32(1 / rng.uniform(1.9, 2.5))
    if rng.random() < .5:
        k = rng.uniform(-.3, .6)
        out = np.clip(out + k * (out - .5) * out * (1 - out) * 2.4, 0, 1)
    if rng.random() < .5:
        y = cv2.cvtColor(out.astype(np.float32), cv2.COLOR_BGR2YCrCb)
        y[..., 1:] = blur(y[..., 1:], log_uniform(rng, .5, 2.))
        out = cv2.cvtColor(y, cv2.COLOR_YCrCb2BGR)
    if rng.random() < .45:
        out = out + log_uniform(rng, .2, 2.) * (out - blur(out, log_uniform(rng, .7, 1.5)))
    if rng.random() < .2 * strength:
        out = coarser(np.clip(out, 0, 1), log_uniform(rng, 1.05, 2.2))
    if rng.random() < .6:
        out = jpeg(out, rng.uniform(35, 98))
    return np.clip(out, 0, 1).astype(np.float32)


def axes(rng, h, w):
    """Coordinates of the medium under the camera's pixels: slightly turned, slightly in perspective."""
    angle = rng.normal(0, .12) if rng.random() < .75 else rng.uniform(0, np.pi)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    d = 1 + rng.uniform(-.15, .15) / w * x + rng.uniform(-.15, .15) / h * y
    c, s = np.cos(angle), np.sin(angle)
    return (c * x + s * y) / d, (c * y - s * x) / d


def reflections(lin, rng, most=.25):
    h, w = lin.shape[:2]
    v = np.clip(field(rng, h, w, 2) + rng.uniform(-.8, .6), 0, None) * rng.uniform(.02, most)
    return lin + v[..., None] * np.array([rng.uniform(.7, 1.2), 1, rng.uniform(.7, 1.2)], np.float32)


def screen(img, rng, strength=1.):
    """The picture on a display, as light that reaches the camera (gamma encoded again)."""
    h, w = img.shape[:2]
    img = np.clip(img, 0, 1)
    if rng.random() < .4:
        img = coarser(img, log_uniform(rng, 1.1, 2.8))
    if rng.random() < .5:
        img = jpeg(img, log_uniform(rng, 10, 80))
    lin = img ** np.float32(rng.uniform(1.9, 2.5)) * log_uniform(rng, .6, 2.)
    lin = lin * np.exp(np.array([1, 0, -1], np.float32) * abs(rng.normal(0, .2)) * (.8 if rng.random() < .8 else -.5))  # bluish
    if rng.random() < .5:
        lin = lin * np.exp(field(rng, h, w, 1) * rng.uniform(.05, .35))[..., None]
    lin = lin + rng.uniform(0, .06)  # black isn't black
    if rng.random() < .65:
        x, y = axes(rng, h, w)
        k = 2 * np.pi * log_uniform(rng, .3, 4.)
        amp = log_uniform(rng, .01, .35) * strength
        kind = rng.integers(0, 3)
        for channel, phase in ((2, 0.), (1, 2.1), (0, 4.2)):
            u, v = ((x + y) * .7071, (x - y) * .7071) if kind == 2 and channel != 1 else (x, y)
            m = 1 + amp * np.cos(k * u + phase)
            if kind:
                m = m * (1 + amp * rng.uniform(.3, 1) * np.cos(k * v))
            lin[..., channel] *= m
        if rng.random() < .45:
            f = 2 * np.pi * log_uniform(rng, 2, 30) / w
            a = rng.uniform(0, np.pi)
            z = (x * np.cos(a) + y * np.sin(a)) * f + field(rng, h, w, 2) * rng.uniform(0, 3)
            for channel in range(3):
                lin[..., channel] *= 1 + rng.uniform(.02, .14) * np.cos(z + channel * rng.uniform(0, 2.1))
    if rng.random() < .25:
        z = np.cos(2 * np.pi * (np.arange(h, dtype=np.float32) / h * rng.uniform(.5, 7) + rng.uniform(0, 1)))
        lin = lin * (1 + rng.uniform(.03, .2) * z)[:, None, None]
    if rng.random() < .5:
        lin = reflections(lin, rng)
    if rng.random() < .5:
        lin = blur(lin, log_uniform(rng, .3, 1.3))
    if rng.random() < .4:
        lin = lin + rng.uniform(.03, .25) * blur(lin, rng.uniform(.03, .1) * w)
    return np.clip(lin, 0, 4).astype(np.float32) ** (1 / 2.2)


def printed(img, rng, strength=1.):
    """The picture on paper, lit by the room (gamma encoded again)."""
    h, w = img.shape[:2]
    img = np.clip(img, 0, 1)
    if rng.random() < .4:
        img = coarser(img, log_uniform(rng, 1.1, 2.2))
    if rng.random() < .08:
        img = np.repeat(img.mean(2, keepdims=True), 3, 2)
    y = img @ np.array([.114, .587, .299], np.float32)
    img = y[..., None] + (img - y[..., None]) * rng.uniform(.5, 1.15)
    img = np.clip(np.clip(img, 0, 1) ** rng.uniform(.7, 1.4), 0, 1)
    cmy = 1 - img
    k = cmy.min(2) * rng.uniform(0, .8)
    ink = np.dstack([cmy - k[..., None], k]).astype(np.float32)
    mode = rng.random()
    if mode < .4:  # halftone
        x, yy = axes(rng, h, w)
        f = 2 * np.pi / log_uniform(rng, 1.2, 4.5)
        soft, mix = log_uniform(rng, 1.5, 10), log_uniform(rng, .03, .6) * strength
        for i, a in enumerate((0, 1.31, .26, .785)):
            c, s = np.cos(a), np.sin(a)
            t = .5 + .25 * (np.cos(f * (c * x + s * yy)) + np.cos(f * (c * yy - s * x)))
            ink[..., i] = ink[..., i] * (1 - mix) + mix / (1 + np.exp(-(ink[..., i] - t) * soft))
    elif mode < .65:  # inkjet
        n = rng.standard_normal((h, w, 4), dtype=np.float32)
        n = blur(n - blur(n, 1.), log_uniform(rng, .3, 1.2))
        ink = np.clip(ink + n / (n.std() + 1e-6) * log_uniform(rng, .008, .12) * np.sqrt(np.clip(ink * (1 - ink), 0, 1) + .01) * 2, 0, 1)
    out = np.clip(1 - ink[..., :3] - ink[..., 3:], 0, 1)
    black = log_uniform(rng, .01, .12)
    paper = np.array([rng.uniform(.75, 1.), rng.uniform(.85, 1.), rng.uniform(.85, 1.)], np.float32)
    lin = (black + (1 - black) * out ** 2.2) * paper * rng.uniform(.6, 1.)
    if rng.random() < .35:
        n = blur(rng.standard_normal((h, w), dtype=np.float32), log_uniform(rng, .4, 2.))
        lin = lin * (1 + log_uniform(rng, .002, .03) * n / (n.std() + 1e-6))[..., None]
    if rng.random() < .7:  # curl
        a = rng.uniform(0, np.pi)
        yy, x = np.mgrid[0:h, 0:w].astype(np.float32)
        z = x / w * np.cos(a) + yy / h * np.sin(a)
        lin = lin * np.exp(rng.uniform(.05, .5) * np.cos(2 * np.pi * (z * rng.uniform(.2, 1.3) + rng.uniform(0, 1))))[..., None]
    lin = lin * np.exp(tint(rng, .2))
    if rng.random() < .5:
        lin = reflections(lin, rng, .3)
    if rng.random() < .3:
        lin = blur(lin, log_uniform(rng, .3, 1.2))
    return np.clip(lin, 0, 4).astype(np.float32) ** (1 / 2.2)
