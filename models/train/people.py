"""Synthetic people: computer-drawn heads before a camera, living or shown on a simulated screen or print.

    people.py OUT COUNT SEED [DATA] [--relabel]

Writes 640×480 JPEGs and OUT/labels.jsonl with, for each, its label (live, replay, print, none), the face's box and five points in pixels.
With DATA, scenes of the training pictures are used as backgrounds too; without, all is procedural (what is committed is made
that way). A head is a signed distance field of smoothly joined ellipsoids, sphere-traced, with skin, hair, eyes that blink and
look about, in the light of a room. Lengths are in half heads: the head is about two high; x to the right, y up, z to the camera.
"""
import argparse
import json
import os
import time

import cv2
import numpy as np

import recapture as rc

W, H = 640, 480
SKIN, HAIR, EYE, CLOTH, FRAME = range(5)


def smooth_min(a, b, k):
    h = np.clip(.5 + .5 * (b - a) / k, 0, 1)
    return b + (a - b) * h - k * h * (1 - h)


def ellipsoid(p, c, r):
    q = [(p[i] - c[i]) / r[i] for i in range(3)]
    n = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
    return (n - 1) * min(r)


def rotation(yaw, pitch, roll):
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    return (np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
            @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])).astype(np.float32)


class Person:
    """Everything about somebody that stays when they move."""

    def __init__(self, seed):
        r = np.random.default_rng([seed, 77])
        n = lambda s: float(np.clip(r.normal(0, s), -2 * s, 2 * s))
        self.seed = seed
        self.skull = (.72 + n(.03), .84 + n(.04), .86 + n(.04))
        self.jaw = (.55 + n(.04), .74 + n(.05), .62 + n(.03))
        self.chin = (-.90 + n(.04), .17 + n(.03), .44 + n(.04))
        self.cheek = (.34 + n(.03), -.2 + n(.04), .21 + n(.025))
        self.eye = (.275 + n(.018), .06 + n(.02), .135 + n(.008))
        self.nose = (.085 + n(.015), -.24 + n(.03), .115 + n(.018), .85 + n(.04))
        self.mouth = (.21 + n(.02), -.52 + n(.025), .05 + n(.012))
        self.brow = (.235 + n(.02), .035 + abs(n(.012)), n(.12))
        tone = r.beta(1.2, 1.2)  # light to dark, linear light, BGR
        self.skin = (1 - tone) * np.array([.44, .52, .72]) + tone * np.array([.055, .085, .16])
        self.skin = (self.skin * np.exp(r.normal(0, .07, 3))).astype(np.float32)
        hair = [(.02, .02, .025), (.03, .045, .08), (.06, .10, .17), (.16, .26, .42), (.35, .36, .38), (.05, .10, .28)][r.integers(6)]
        self.hair = np.array(hair, np.float32) * np.exp(r.normal(0, .15))
        self.style = ['short', 'short', 'long', 'long', 'bald', 'bun'][r.integers(6)]
        self.line = .62 + n(.07)
        self.beard = r.uniform(.15, .7) if r.random() < .3 else 0.
        self.glasses = r.random() < .25
        self.lip = self.skin * np.array([.62, .55, .9], np.float32) * r.uniform(.75, 1.05)
        self.iris = np.array([(.03, .05, .08), (.06, .12, .2), (.3, .2, .1), (.12, .2, .12)][r.integers(4)], np.float32)
        self.cloth = np.clip(r.uniform(.01, .6, 3), .01, 1).astype(np.float32) ** 1.4
        self.freckles = r.uniform(.1, .5) if r.random() < .2 else 0.
        self.age = r.random()
        self.mask = self.shades = None  # colours of what heads.py lets some wear
        k = np.random.default_rng([seed, 78])
        self.fine = k.normal(0, 1, (512, 512)).astype(np.float32)
        self.coarse = cv2.resize(k.normal(0, 1, (24, 24)).astype(np.float32), (512, 512), interpolation=cv2.INTER_CUBIC)
        self.fine = self.fine - cv2.GaussianBlur(self.fine, (0, 0), 4)
        self.strands = cv2.GaussianBlur(k.normal(0, 1, (512, 512)).astype(np.float32), (0, 0), sigmaX=.7, sigmaY=14)
        self.strands /= self.strands.std()

    def distance(self, p, torso, mouth):
        """Distances of points to each material; p in the head's axes, torso in the body's."""
        x, y, z = p
        ax = np.abs(x)
        s = (ax, y, z)  # heads are mirrored, but for texture and light
        d = smooth_min(ellipsoid(p, (0, .27, -.1), self.skull), ellipsoid(p, (0, -.3, .1), self.jaw), .22)
        d = smooth_min(d, ellipsoid(p, (0, self.chin[0] - mouth * .04, self.chin[2]), (self.chin[1] * 1.2, self.chin[1], self.chin[1])), .18)
        d = smooth_min(d, ellipsoid(s, (self.cheek[0], self.cheek[1], .42), (self.cheek[2],) * 3), .16)
        d = smooth_min(d, ellipsoid(s, (.2, .24, .66), (.24, .07, .1)), .12)
        socket = ellipsoid(s, (self.eye[0], self.eye[1], .82), (.2, .13, .17))
        h = np.clip(.5 - .5 * (d + socket) / .1, 0, 1)
        d = d + (-socket - d) * h + .1 * h * (1 - h)
        w, ny, nr, nz = self.nose
        d = smooth_min(d, ellipsoid(p, (0, -.02, .70), (w, .30, .13)), .07)
        d = smooth_min(d, ellipsoid(p, (0, ny, nz), (nr, nr * .85, nr)), .08)
        d = smooth_min(d, ellipsoid(s, (nr * .95, ny - .02, nz - .1), (.07, .06, .09)), .05)
        mw, my, mh = self.mouth
        d = smooth_min(d, ellipsoid(p, (0, my + .035, .695), (mw, mh * .9, .075)), .04)
        d = smooth_min(d, ellipsoid(p, (0, my - .045 - mouth * .1, .675), (mw * .85, mh * 1.2, .08)), .04)
        d = smooth_min(d, ellipsoid(s, (.735, -.02, -.12), (.07, .22, .13)), .05)
        d = smooth_min(d, ellipsoid(torso, (0, -1.35, -.2), (.40, .75, .40)), .12)
        eye = ellipsoid(s, (self.eye[0], self.eye[1], .575), (self.eye[2] * 1.12,) * 3)
        cloth = ellipsoid(torso, (0, -2.55, -.25), (1.55, .95, .62))
        cloth = smooth_min(cloth, ellipsoid(torso, (0, -1.75, -.25), (.56, .22, .5)), .15)
        hair = np.full_like(d, 9.)
        if self.style != 'bald':
            k = 1.085 if self.style == 'short' else 1.12
            shell = ellipsoid(p, (0, .31, -.13), [v * k for v in self.skull])
            cut = self.line - .25 * ax ** 2 - y + np.clip(z, 0, 1) * .25  # below the hair line in front
            if self.style == 'short':
                hair = np.maximum(shell, np.where(z > .2, cut, -.12 - y))
            else:
                hair = np.maximum(shell, cut * (z > .25) + (z <= .25) * -9.)
            if self.style == 'long':
                fall = ellipsoid(p, (0, -.35, -.28), (.86, 1.15, .55))
                hair = smooth_min(hair, np.maximum(fall, z - .05), .08)
            if self.style == 'bun':
                hair = smooth_min(hair, ellipsoid(p, (0, 1.2, -.35), (.32, .28, .32)), .1)
        frame = np.full_like(d, 9.)
        if self.glasses:
            q = np.sqrt((ax - self.eye[0] - .01) ** 2 + ((y - self.eye[1]) * 1.2) ** 2)
            frame = np.sqrt((q - .215) ** 2 + (z - .80) ** 2) - .022
            frame = np.minimum(frame, np.maximum(np.sqrt((y - self.eye[1] - .03) ** 2 + (z - .83) ** 2) - .02, ax - .08))
        return np.stack([d, hair, eye, cloth, frame])


    def points(self, pose, far=9.):
        """Middle of the right eye, of the left one, tip of the nose, right and left corner of the mouth: pixels of the picture. Right
        is the person's right, on the left of a picture that isn't mirrored."""
        ex, ny, mx, my = self.eye[0], self.nose[1] + .02, self.mouth[0] * .92, self.mouth[1] - .045 * pose.mouth
        x, y = np.float32([[-ex, ex, 0, -mx, mx], [self.eye[1], self.eye[1], ny, my, my]])
        z = np.full(5, 1.4, np.float32)
        for _ in range(60):  # from the front to the surface
            p = np.stack([x, y, z])
            d = self.distance(p, p, pose.mouth)
            z -= np.clip(np.minimum(d[SKIN], d[EYE]), -.1, .1)
        x, y, z = rotation(pose.yaw, pose.pitch, pose.roll) @ np.stack([x, y, z])
        scale = pose.height / (TOP - BOTTOM)
        k = far * scale / (far - z)
        return np.stack([pose.x + k * x, pose.y + (TOP + BOTTOM) / 2 * scale - k * y], 1).astype(float)


class Pose:
    """Where somebody is and what the face does."""

    def __init__(self, x=W / 2, y=H / 2, height=200., yaw=0., pitch=0., roll=0., blink=0., gaze=(0., 0.), mouth=0.):
        self.x, self.y, self.height = x, y, height  # of the face box, pixels
        self.yaw, self.pitch, self.roll, self.blink, self.gaze, self.mouth = yaw, pitch, roll, blink, gaze, mouth


# The face box, hair line to chin, in the head's own lengths: what RetinaFace answers on these heads (fitted, see README).
TOP, BOTTOM, SIDE, DEEP = .60, -1.02, .70, .33


def trace(person, pose, w, h, far=9.):
    """What each pixel sees: material (−1: nothing), the point in the head's axes, its normal in the camera's axes."""
    scale = pose.height / (TOP - BOTTOM)  # pixels a length
    rot = rotation(pose.yaw, pose.pitch, pose.roll)
    back = rotation(pose.yaw * .15, 0, pose.roll * .2)
    focus = far * scale
    cx, cy = pose.x, pose.y + (TOP + BOTTOM) / 2 * scale
    reach = scale * 1.75
    x0, x1 = int(max(0, cx - reach * 1.05)), int(min(w, cx + reach * 1.05))
    y0, y1 = int(max(0, cy - reach)), h
    yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    d = np.stack([(xx + .5 - cx) / focus, -(yy + .5 - cy) / focus, -np.ones_like(xx)]).reshape(3, -1)
    d /= np.sqrt((d * d).sum(0))
    o = np.array([0, 0, far], np.float32)
    n = d.shape[1]
    t = np.full(n, far - 1.8, np.float32)
    alive = np.arange(n)
    hit = np.zeros(n, bool)

    def field(q):
        return person.distance(rot.T @ q, back.T @ q, pose.mouth)
    for _ in range(26):
        q = o[:, None] + d[:, alive] * t[alive]
        f = field(q).min(0)
        t[alive] += np.clip(f, -.2, .6) * .9
        done = f < .004
        hit[alive[done]] = True
        alive = alive[~done & (t[alive] < far + 1.6)]
        if not len(alive):
            break
    i = np.nonzero(hit)[0]
    q = o[:, None] + d[:, i] * t[i]
    f0 = field(q)
    material = f0.argmin(0)
    e = .012
    normal = np.stack([field(q + np.array([[e], [0], [0]], np.float32) * 1).min(0), field(q + np.array([[0], [e], [0]], np.float32)).min(0),
                       field(q + np.array([[0], [0], [e]], np.float32)).min(0)]) - f0.min(0)
    normal /= np.sqrt((normal ** 2).sum(0)) + 1e-6
    open_ = np.clip(field(q + normal * .18).min(0) / .18, 0, 1)  # how much of the sky a point sees
    rows, cols = i // (x1 - x0) + y0, i % (x1 - x0) + x0
    return rows, cols, material, rot.T @ q, normal, open_, rot


class Light:
    def __init__(self, rng):
        a, b = rng.uniform(-1.1, 1.1), rng.uniform(.1, .9)
        self.key = np.array([np.sin(a), np.sin(b), np.cos(a) * np.cos(b) + .2], np.float32)
        self.key /= np.linalg.norm(self.key)
        self.colour = np.exp(rc.tint(rng, .18)) * rc.log_uniform(rng, .5, 1.1)
        self.sky = np.exp(rc.tint(rng, .12)) * rc.log_uniform(rng, .25, .7)
        self.ground = self.sky * rng.uniform(.3, .7)


def texture(image, u, v):
    return cv2.remap(image, (u * 512 % 511).astype(np.float32).reshape(1, -1), (v * 512 % 511).astype(np.float32).reshape(1, -1),
                     cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)[0] if len(u) else u


def in_parts(fn, u, v, step=30000):
    return np.concatenate([fn(u[i:i + step], v[i:i + step]) for i in range(0, len(u), step)]) if len(u) else u


def draw(person, pose, light, w, h):
    """The person in linear light, BGR, and how much each pixel is covered."""
    rows, cols, material, p, normal, open_, rot = trace(person, pose, w, h)
    x, y, z = p
    ax = np.abs(x)
    tex = lambda img, k, dx=0., dy=0.: in_parts(lambda u, v: texture(img, u, v), (x * k + dx) % 1, (y * k + z * k * .3 + dy) % 1)
    coarse, fine = tex(person.coarse, .4, .3, .1), tex(person.fine, .9)
    colour = np.empty((len(x), 3), np.float32)
    skin = person.skin * (1 + .10 * coarse + .05 * fine)[:, None]
    flush = np.exp(-((ax - .36) ** 2 + (y + .22) ** 2) / .03) + 1.2 * np.exp(-(x ** 2 + (y + .24) ** 2) / .015) * (z > .6)
    skin = skin * (1 - np.clip(flush, 0, 1)[:, None] * np.array([.16, .16, .0]))
    if person.freckles:
        skin = skin * (1 - person.freckles * np.clip(tex(person.fine, .5, .2, .7) - .9, 0, 1)[:, None] * (np.abs(y + .12) < .35)[:, None])
    front = z > .3
    ex, ey, er = person.eye
    skin = skin * (1 - .35 * np.exp(-((ax - ex) ** 2 / .03 + (y - ey) ** 2 / .012)) * front)[:, None]  # shadow round the eyes
    if person.age > .6:
        lines = np.exp(-((ax - .22 - (-.3 - y) * .25) / .018) ** 2) * (y < -.2) * (y > -.55)
        skin = skin * (1 - .3 * lines * front)[:, None]
        skin = skin * (1 - .15 * (np.cos(y * 70) > .8) * (y > .38) * (y < .6) * front * (ax < .35))[:, None]
    by, bt, bs = person.brow
    brow = np.exp(-((y - by - .06 - bs * (ax - ex) + ((ax - ex) * 1.6) ** 2 * .5) / bt) ** 4) * (ax > .09) * (ax < .44) * front
    skin = skin * (1 - (.8 * brow * (.7 + .3 * tex(person.strands, 2.)))[:, None] * (1 - person.hair / (person.skin + .01)).clip(0, 1))
    mw, my, mh = person.mouth
    lips = np.exp(-(((x / (mw * .95)) ** 2 + ((y - my + pose.mouth * .05) / (mh * 1.9 + pose.mouth * .07)) ** 2)) ** 3) * (z > .5)
    skin = skin * (1 - lips[:, None]) + person.lip * lips[:, None]
    gap = np.exp(-((y - my) / (.009 + .055 * pose.mouth)) ** 2 - (x / (mw * .85)) ** 8) * (z > .5)
    skin = skin * (1 - .85 * gap)[:, None]
    nostril = np.exp(-(((ax - .055) / .03) ** 2 + ((y - person.nose[1] + .085) / .018) ** 2)) * (z > .6)
    skin = skin * (1 - .75 * nostril)[:, None]
    if person.beard:
        area = np.clip((-.28 - y - .4 * (ax < .3) * (y > -.42)) * 4, 0, 1) * np.clip((z + .1) * 4, 0, 1) * (y > -1.15)
        skin = skin * (1 - area[:, None] * person.beard * (1 - lips[:, None]) * (.75 + .25 * tex(person.fine, 2.)[:, None]))
    if person.mask is not None:  # over nose and chin, with pleats
        worn = np.clip((-.12 - .25 * ax - y) * 30, 0, 1) * np.clip((y + 1.02 + .3 * ax) * 30, 0, 1) * np.clip((.62 - ax) * 30, 0, 1) * (z > 0)
        cloth = person.mask * (1 + .05 * fine + .12 * np.cos(y * 28) * (ax < .5))[:, None]
        skin = skin * (1 - worn[:, None]) + cloth * worn[:, None]
    if person.shades is not None:
        worn = ((ax - ex - .02) / .22) ** 4 + ((y - ey) / .15) ** 4 < 1
        worn = ((worn | (np.abs(y - ey - .04) < .025)) & (z > .1))[:, None]
        skin = np.where(worn, person.shades, skin)
    colour[:] = skin
    m = material == HAIR
    strands = in_parts(lambda u, v: texture(person.strands, u, v), (x[m] * 1.3) % 1, (y[m] * .25) % 1)
    colour[m] = person.hair * np.clip(1 + .45 * strands, .3, 2.5)[:, None]
    m = material == CLOTH
    colour[m] = person.cloth * (1 + .12 * fine[m] + .1 * coarse[m])[:, None]
    colour[material == FRAME] = .02
    m = material == EYE
    if m.any():
        side = np.sign(x[m])
        q = np.stack([(x[m] - side * ex), y[m] - ey, z[m] - .575]) / (er * 1.12)
        g = np.array([np.sin(pose.gaze[0]), np.sin(pose.gaze[1]), 1.], np.float32)
        angle = np.arccos(np.clip((g / np.linalg.norm(g)) @ q, -1, 1))
        white = np.array([.62, .64, .68], np.float32) * (1 - .35 * np.clip(np.abs(q[0]), 0, 1)[:, None])
        ball = np.where((angle < .50)[:, None], person.iris * (1 + 1.2 * (angle > .28))[:, None] * np.where(angle > .45, .4, 1.)[:, None], white)
        ball = np.where((angle < .22)[:, None], .006, ball)
        upper = .34 * (1 - pose.blink) - .16 * pose.blink - .25 * q[0] ** 2  # edges of the lids
        lower = -.26 - .0 * q[0] + .25 * q[0] ** 2
        lid = (q[1] > upper) | (q[1] < lower)
        lash = np.abs(q[1] - upper) < .07
        ball = np.where(lid[:, None], person.skin * .8, ball)
        ball = np.where((lash & ~(q[1] < lower))[:, None], person.skin * .18, ball)
        colour[m] = ball if person.shades is None else person.shades
    lambert = np.clip((light.key @ normal) * .8 + .2, 0, 1)  # light goes a little way through skin
    up = normal[1] * .5 + .5
    around = up[:, None] * light.sky + (1 - up)[:, None] * light.ground
    shade = lambert[:, None] * light.colour * (.35 + .65 * open_)[:, None] + around * (.3 + .7 * open_)[:, None]
    half = light.key + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    gloss = np.clip(half @ normal, 0, 1)
    k = np.select([material == EYE, material == HAIR, material == SKIN],
                  [gloss ** 90 * 1.2, gloss ** 14 * .05, gloss ** 18 * .05 * (1 + .3 * fine)], 0.)
    out = np.zeros((h, w, 3), np.float32)
    cover = np.zeros((h, w), np.float32)
    out[rows, cols] = colour * shade + k[:, None] * light.colour
    cover[rows, cols] = 1
    soft = cv2.GaussianBlur(cover, (0, 0), .8)[..., None]
    spread = cv2.GaussianBlur(out, (0, 0), .8) / (soft + 1e-3)
    return np.where(cover[..., None] > 0, out, spread), soft


def room(rng, w, h, scenes=None):
    """A background in linear light, out of focus."""
    if scenes and rng.random() < .6:
        img = cv2.imread(scenes[rng.integers(len(scenes))])
        k = max(w / img.shape[1], h / img.shape[0]) * rng.uniform(1, 1.5)
        img = cv2.resize(img, None, fx=k, fy=k, interpolation=cv2.INTER_LINEAR)
        y, x = int(rng.integers(0, img.shape[0] - h + 1)), int(rng.integers(0, img.shape[1] - w + 1))
        return rc.blur((img[y:y + h, x:x + w].astype(np.float32) / 255) ** 2.2, rc.log_uniform(rng, .5, 6)) * rc.log_uniform(rng, .4, 1.2)
    base = np.exp(rc.tint(rng, .25)) * rc.log_uniform(rng, .06, .5)
    out = np.ones((h, w, 3), np.float32) * base
    out *= np.exp(rc.field(rng, h, w, 1) * rng.uniform(.1, .5))[..., None]
    for _ in range(int(rng.integers(2, 9))):  # doors, shelves, windows, pictures
        x, y = int(rng.uniform(-.2, 1) * w), int(rng.uniform(-.2, .9) * h)
        bw, bh = int(rc.log_uniform(rng, .03, .6) * w), int(rc.log_uniform(rng, .05, 1.) * h)
        c = base * rc.log_uniform(rng, .15, 3.) * np.exp(rc.tint(rng, .4))
        cv2.rectangle(out, (x, y), (x + bw, y + bh), c.tolist(), -1)
        if rng.random() < .5:
            cv2.rectangle(out, (x, y), (x + bw, y + bh), (c * rng.uniform(.2, .6)).tolist(), int(rng.integers(1, 7)))
    for _ in range(int(rng.integers(0, 4))):  # lamps
        cv2.circle(out, (int(rng.uniform(0, w)), int(rng.uniform(0, h * .5))), int(rng.uniform(4, 26)),
                   (rng.uniform(.7, 2.) * np.exp(rc.tint(rng, .2))).tolist(), -1)
    n = cv2.resize(rng.normal(0, 1, (h // 3, w // 3)).astype(np.float32), (w, h))
    return rc.blur(out * (1 + .05 * n)[..., None], rc.log_uniform(rng, .6, 5.))


def face_box(pose):
    """RetinaFace's box for a pose: wide heads get narrower and deeper when they turn."""
    scale = pose.height / (TOP - BOTTOM)
    half = scale * (SIDE * abs(np.cos(pose.yaw)) + DEEP * abs(np.sin(pose.yaw)))
    c, s = abs(np.cos(pose.roll)), abs(np.sin(pose.roll))
    hw, hh = np.hypot(half * c, pose.height / 2 * s), np.hypot(half * s, pose.height / 2 * c)
    x = pose.x + scale * np.sin(pose.yaw) * .18
    y = pose.y + scale * np.sin(pose.pitch) * .61
    return [x - hw, y - hh, 2 * hw, 2 * hh]


def compose(person, pose, light, background):
    """The person in the room, display-referred."""
    h, w = background.shape[:2]
    body, cover = draw(person, pose, light, w, h)
    return np.clip(body * cover + background * (1 - cover), 0, 4).astype(np.float32) ** (1 / 2.2)


class Medium:
    """A screen or a print that somebody holds before the camera: where it is, and how the picture gets there."""

    def __init__(self, rng, kind, box, shape):
        h, w = shape
        self.kind = kind
        x, y, bw, bh = box
        m = rng.uniform(.25, .9, 4)
        self.x0, self.y0 = max(0., x - bw * m[0]), max(0., y - bh * m[1])
        self.x1, self.y1 = min(w - 1., x + bw * (1 + m[2])), min(h - 1., y + bh * (1 + m[3]))
        self.src = np.float32([[self.x0, self.y0], [self.x1, self.y0], [self.x1, self.y1], [self.x0, self.y1]])
        self.bezel = rng.uniform(.015, .1) if kind == 'replay' else rng.uniform(0, .08)
        dark = rng.random() < .75
        if kind == 'replay':
            self.edge = np.array([rng.uniform(.0, .04)] * 3 if dark else [rng.uniform(.4, .9)] * 3)
        else:
            self.edge = np.array([.75, .78, .8])
        self.jitter = rng.uniform(-.035, .035, (4, 2)) * [self.x1 - self.x0, self.y1 - self.y0]
        self.seed = int(rng.integers(1 << 31))

    def show(self, picture, scene, rng, move=(0., 0., 0.), strength=1.):
        """The scene with the medium in it, and the transform from the picture's pixels to the scene's."""
        h, w = scene.shape[:2]
        shown = (rc.screen if self.kind == 'replay' else rc.printed)(picture, np.random.default_rng(self.seed), strength)
        c = self.src.mean(0)
        a = move[2]
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        dst = ((self.src + self.jitter - c) @ turn.T + c + np.array(move[:2])).astype(np.float32)
        m = cv2.getPerspectiveTransform(self.src, dst)
        out = scene
        size = np.linalg.norm(self.src[1] - self.src[0])
        grow = np.float32([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * self.bezel * size
        edge = cv2.perspectiveTransform((self.src + grow)[None], m)[0]
        mask = np.zeros((h, w), np.float32)
        cv2.fillConvexPoly(mask, edge.astype(np.int32), 1., cv2.LINE_AA)
        mask = rc.blur(mask, .7)[..., None]
        out = out * (1 - mask) + self.edge.astype(np.float32) * mask
        warped = cv2.warpPerspective(shown, m, (w, h), flags=cv2.INTER_LINEAR)
        mask = np.zeros((h, w), np.float32)
        cv2.fillConvexPoly(mask, dst.astype(np.int32), 1., cv2.LINE_AA)
        mask = rc.blur(mask, .7)[..., None]
        return out * (1 - mask) + warped * mask, m


def moved_box(box, m):
    x, y, w, h = box
    q = cv2.perspectiveTransform(np.float32([[[x, y + h / 2], [x + w, y + h / 2], [x + w / 2, y], [x + w / 2, y + h]]]), m)[0]
    return [float(q[0, 0]), float(q[2, 1]), float(q[1, 0] - q[0, 0]), float(q[3, 1] - q[2, 1])]


def random_pose(rng):
    height = float(np.clip(rc.log_uniform(rng, .16, .95), .16, .9) * H)
    return Pose(rng.uniform(.3, .7) * W, rng.uniform(.4, .58) * H, height, rng.normal(0, .28), rng.normal(0, .12), rng.normal(0, .1),
                1. if rng.random() < .08 else rng.uniform(0, .25),
                (rng.normal(0, .2), rng.normal(0, .1)), rng.uniform(0, .6) if rng.random() < .3 else 0.)


def frames(seed, rng, scenes, each=5):
    """Frames of one person in one pose: living and attacked, in several rooms and cameras."""
    person, pose = Person(seed), random_pose(rng)
    body, cover = draw(person, pose, Light(rng), W, H)
    box, points = face_box(pose), person.points(pose)
    for _ in range(each):
        level = rc.log_uniform(rng, .6, 1.5)
        live = body * level * np.exp(rc.tint(rng, .1)) * cover + room(rng, W, H, scenes) * (1 - cover)
        live = np.clip(live, 0, 4).astype(np.float32) ** (1 / 2.2)
        u = rng.random()
        if u < .45:
            yield rc.capture(live, rng), 'live', box, points
            continue
        kind = 'replay' if u < .74 else 'print'
        medium = Medium(rng, kind, box, (H, W))
        scene = np.clip(room(rng, W, H, scenes), 0, 4).astype(np.float32) ** (1 / 2.2)
        out, m = medium.show(rc.capture(live, rng, .5), scene, rng, (rng.normal(0, 15), rng.normal(0, 10), rng.normal(0, .05)))
        yield rc.capture(out, rng), kind, moved_box(box, m), cv2.perspectiveTransform(np.float32(points)[None], m)[0]


def relabel(rows, seed):
    """Rows of labels.jsonl with the boxes and points of today's face_box, without drawing: the poses follow from the seed. How a
    screen or print lay isn't known any more; there the box changes as before the screen, and points are left out."""
    n, out = 0, []
    while n < len(rows):
        rng = np.random.default_rng([seed, n])
        if rng.random() < .03:
            out.append(rows[n])
            n += 1
            continue
        person, pose = Person(seed * 1_000_000 + n // 25), random_pose(rng)
        new, points = np.array(face_box(pose)), person.points(pose)
        group = rows[n:n + 5]
        live = [r['face'] for r in group if r['label'] == 'live']
        for row in group:
            row = dict(row, person=person.seed)
            if row['label'] == 'live':
                row.update(face=np.round(new, 1).tolist(), points=np.round(points, 1).tolist())
            elif live:
                old, (x, y, w, h) = np.array(live[0]), row['face']
                at = (new[:2] - old[:2]) / old[2:]
                row['face'] = np.round([x + at[0] * w, y + at[1] * h, *(np.array([w, h]) * new[2:] / old[2:])], 1).tolist()
            else:
                row['face'] = None
                row['unsure'] = True
            out.append(row)
        n += 5
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', help='folder to write to; what is there already is kept and counted')
    parser.add_argument('count', type=int, help='frames that are to be there in the end')
    parser.add_argument('seed', type=int, help='people of different seeds are different people')
    parser.add_argument('data', nargs='?', help='folder of the training pictures')
    parser.add_argument('--relabel', action='store_true', help='draw nothing: bring the boxes and points of what is there up to date')
    args = parser.parse_args()
    out, count, seed, data = args.out, args.count, args.seed, args.data
    cv2.setNumThreads(1)
    os.makedirs(out, exist_ok=True)
    scenes = None
    if data:
        scenes = [os.path.join(data, 'train', d, f) for d in ('backgrounds', 'caltech-background')
                  for f in sorted(os.listdir(os.path.join(data, 'train', d)))]
    labels = os.path.join(out, 'labels.jsonl')
    if args.relabel:
        rows = relabel([json.loads(line) for line in open(labels)], seed)
        with open(labels + '.new', 'w') as f:
            f.writelines(json.dumps(r) + '\n' for r in rows)
        os.replace(labels + '.new', labels)
        return
    n = sum(1 for _ in open(labels)) if os.path.exists(labels) else 0
    start, begun, shown = n, time.monotonic(), time.monotonic()
    while n < count:
        rng = np.random.default_rng([seed, n])
        person = seed * 1_000_000 + n // 25
        if rng.random() < .03:
            made = [(rc.capture(np.clip(room(rng, W, H, scenes), 0, 4).astype(np.float32) ** (1 / 2.2), rng), 'none', None, None)]
        else:
            made = frames(person, rng, scenes)
        for img, label, box, points in made:
            name = f'{n:06d}.jpg'
            how = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 96))]
            cv2.imwrite(os.path.join(out, name), (np.clip(img, 0, 1) * 255 + .5).astype(np.uint8), how)
            with open(labels, 'a') as f:
                face = [round(v, 1) for v in box] if box else None
                row = {'file': name, 'label': label, 'face': face, 'person': person}
                if box:
                    row['points'] = np.round(points, 1).tolist()
                f.write(json.dumps(row) + '\n')
            n += 1
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f'{n} of {count} frames, {(shown - begun) / (n - start) * (count - n) / 60:.0f} min left', flush=True)
    print(n - start, 'frames')


if __name__ == '__main__':
    main()
