"""Chooses the operating points that the manifests recommend, from training-side data; data/dev is never looked at.

    calibrate.py face CACHE
    calibrate.py liveness DATA CACHE

face: the least P(face) at which held-out frames of the pool show at most FALSE false faces each.

liveness: makes the logits mean what they say. One temperature is fitted on simulated captures of the training faces (genuine,
behind simulated screens and paper) and on synthetic people of seeds that were never trained on (CACHE/synthetic/held), and is
folded into the last layer; the thresholds follow from the error rates there, and what an answer is worth as evidence from the same
scores. Real attacks are another matter: see evaluate.py.

The answers are written into CACHE/face-int8.pt and liveness-int8.pt, where export.py finds them, and for liveness a reliability diagram
into CACHE/liveness-reliability.svg, of captures that the temperature wasn't fitted on where they are simulated.
"""
import argparse
import json
import os

import cv2
import numpy as np
import torch

import facedata
import pool
import recapture as rc
from crops import crop
from face import decode, of_picture, overlap, suppress
from pipeline import odds
from quantise import Graph, by_stride
from schedule import told

TARGET = .05  # of the live crops, single frames, may be called attacks
FALSE = .002  # false faces a frame; places that nobody has trained on show several times more
OVERLAP = .4
MOST = 4.  # what one picture can prove at most, in log-likelihood ratios


def simulated(data, cache, n, seed):
    """Crops of training faces and their true classes under simulation."""
    maker = pool.Maker(data, cache, seed)
    rng = maker.rng
    x, label = [], []
    for i in told(range(n), 'simulated captures'):
        key, box = maker.faces[rng.integers(len(maker.faces))]
        out = np.ascontiguousarray(maker.region(maker.picture(key), box, rc.log_uniform(rng, 90, 260)))
        if rng.random() < .6:
            out = rc.light(out, rng)
        kind = (pool.LIVE, pool.LIVE, pool.PRINT, pool.REPLAY)[i % 4]
        if kind != pool.LIVE:
            out = (rc.screen if kind == pool.REPLAY else rc.printed)(rc.capture(out, rng, .5), rng)
        out = cv2.resize(np.clip(rc.capture(out, rng), 0, 1), (80, 80), interpolation=cv2.INTER_LINEAR)
        x.append((out * 255 + .5).astype(np.uint8))
        label.append(kind)
    return np.stack(x), np.array(label)


def synthetic(folder):
    """Crops of synthetic people that were made for this."""
    x, label = [], []
    for line in open(os.path.join(folder, 'labels.jsonl')):
        row = json.loads(line)
        if row['face']:
            x.append(crop(cv2.imread(os.path.join(folder, row['file'])), row['face']))
            label.append({'live': pool.LIVE, 'print': pool.PRINT, 'replay': pool.REPLAY}[row['label']])
    return np.stack(x), np.array(label)


def logits(graph, x):
    out = []
    with torch.no_grad():
        for i in range(0, len(x), 128):
            out.append(graph(torch.from_numpy(x[i:i + 128]).permute(0, 3, 1, 2).float())[0].flatten(1).numpy())
    return np.concatenate(out)


def loss(z, live, temperature):
    """Mean of the two classes' log losses."""
    o = odds(z / temperature)
    return (np.logaddexp(0, -o[live]).mean() + np.logaddexp(0, o[~live]).mean()) / 2


def evidence(live, attack):
    """What an answer is worth to the decision: log(p(answer | living) / p(answer | attack)) as slope × log-odds + offset, clipped.

    live and attack are the log-odds of each part. The line is a logistic regression in which each part and each side weighs the
    same, so that its log-odds are the ratio. It is clipped to what the worse part has shown: at the threshold that tells most, one
    error more than was seen, and never beyond ±MOST.
    """
    x = np.concatenate(live + attack)
    y = np.concatenate([np.full(len(o), y) for side, y in ((live, 1.), (attack, 0.)) for o in side])
    weight = np.concatenate([np.full(len(o), .5 / len(side) / len(o)) for side in (live, attack) for o in side])
    design, w = np.stack([x, np.ones_like(x)], 1), np.array([1., 0.])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ w, -30, 30)))
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        w = w + np.linalg.solve(hessian, design.T @ (weight * (y - p)) - 1e-6 * (w - [1., 0.]))
    if not w[0] > 0:
        raise SystemExit(f'living people look less alive than attacks: slope {w[0]:.3f}')

    def shown(sure, other):
        """The most that an answer from some threshold on tells."""
        sure, other = np.sort(sure), np.sort(other)
        right = 1 - np.searchsorted(sure, sure) / len(sure)
        wrong = (len(other) - np.searchsorted(other, sure) + 1) / (len(other) + 1)
        return float(np.log(right / wrong).max())
    most = min(shown(a, b) for a, b in zip(live, attack))
    least = min(shown(-b, -a) for a, b in zip(live, attack))
    bound = lambda v: float(np.clip(v, .1, MOST))
    return {'slope': round(float(w[0]), 3), 'offset': round(float(w[1]), 3), 'least': round(-bound(least), 2), 'most': round(bound(most), 2)}


def reliability(odds_of, live):
    """Rows of (crops, mean P(live), share of living) for ten equally wide bins of P(live) that hold a crop, both classes weighing
    the same; and the expected calibration error, the rows' differences weighed by what they hold."""
    p = 1 / (1 + np.exp(-odds_of))
    weight = np.where(live, .5 / live.sum(), .5 / (~live).sum())
    rows, error = [], 0.
    for i in range(10):
        k = (p >= i / 10) & ((p < (i + 1) / 10) | (i == 9))
        if k.any():
            w = weight[k].sum()
            rows.append((int(k.sum()), float((p[k] * weight[k]).sum() / w), float((live[k] * weight[k]).sum() / w)))
            error += w * abs(rows[-1][1] - rows[-1][2])
    return rows, float(error)


def diagram(parts):
    """A reliability diagram as SVG: a line for each part, the diagonal for what a perfectly calibrated net would give."""
    at = lambda p, q: f'{60 + 300 * p:.1f},{330 - 300 * q:.1f}'
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 420 390" font-family="sans-serif" font-size="12">',
           '<title>Share of living people over P(live)</title><rect width="420" height="390" fill="white"/>']
    for i in range(0, 11, 2):
        out.append(f'<path d="M{at(i / 10, 0)} L{at(i / 10, 1)} M{at(0, i / 10)} L{at(1, i / 10)}" stroke="#ddd"/>'
                   f'<text x="{60 + 30 * i}" y="346" text-anchor="middle">{i / 10:.1f}</text>'
                   f'<text x="52" y="{334 - 30 * i}" text-anchor="end">{i / 10:.1f}</text>')
    out.append(f'<path d="M{at(0, 0)} L{at(1, 1)}" stroke="#888" stroke-dasharray="4 3"/>'
               '<text x="210" y="364" text-anchor="middle">mean P(live)</text>'
               '<text x="18" y="180" text-anchor="middle" transform="rotate(-90 18 180)">share of living people</text>')
    for i, (name, (rows, error)) in enumerate(parts.items()):
        colour = ('#0b62a4', '#c1440e', '#3a7d44')[i % 3]
        points = [at(p, q) for _, p, q in rows]
        out.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{c.split(",")[0]}" cy="{c.split(",")[1]}" r="3" fill="{colour}"/>' for c in points]
        out.append(f'<text x="72" y="{48 + 16 * i}" fill="{colour}">{name}: expected calibration error {error:.3f}</text>')
    return '\n'.join(out + ['</svg>', ''])


def rewrite(graph, state, path):
    graph.save(path, **{k: v for k, v in state.items() if k not in ('shape', 'outputs', 'ranges', 'ops', 'weights')})


def face(args):
    path = os.path.join(args.cache, 'face-int8.pt')
    graph, state = Graph.load(path)
    frames = facedata.Pool(os.path.join(args.cache, 'facepool'))
    sure, found, there = [], [], 0
    with torch.no_grad():
        for i in told(range(0, facedata.HELD, 50), 'batches of held-out frames'):
            x = torch.from_numpy(np.array(frames.x[i:i + 50])).permute(0, 3, 1, 2).float()
            out = by_stride(graph(x))
            for k in range(50):
                rows = [r for r in frames.boxes[i + k] if r[2]]
                boxes = suppress(decode(of_picture(out, k), .3), OVERLAP)
                there += sum(r[2] > 0 for r in rows)
                found += [max((f[4] for f in boxes if overlap(f, r) > .5), default=0.) for r in rows if r[2] > 0]
                sure += [f[4] for f in boxes if all(overlap(f, [r[0], r[1], abs(r[2]), r[3]]) < .2 for r in rows)]
    sure, found = np.array(sure), np.array(found)
    at = next(t for t in np.arange(.4, .96, .01) if (sure >= t).sum() <= FALSE * facedata.HELD or t > .94)
    state['face_at'] = round(float(at), 2)
    state['calibration'] = [f'at face_at {at:.2f}: {(sure >= at).sum()} false faces in {facedata.HELD} held-out frames, '
                            f'recall {(found >= at).mean():.3f} of {there}; at 0.50: {(sure >= .5).sum()}, {(found >= .5).mean():.3f}']
    print(*state['calibration'], sep='\n')
    rewrite(graph, state, path)


def liveness(args):
    path = os.path.join(args.cache, 'liveness-int8.pt')
    graph, state = Graph.load(path)
    parts = {'simulated': simulated(args.data, args.cache, args.crops, args.seed),
             'synthetic': synthetic(os.path.join(args.cache, 'synthetic', 'held'))}
    zs = {k: logits(graph, x) for k, (x, _) in parts.items()}
    # Both parts count the same, whatever their sizes.
    temperatures = np.exp(np.linspace(np.log(.25), np.log(4), 241))
    total = [sum(loss(zs[k], parts[k][1] == pool.LIVE, t) for k in parts) for t in temperatures]
    t = float(temperatures[int(np.argmin(total))])
    for k in ('w', 'b'):
        getattr(graph, k)['logits'].data /= t
    graph.ranges['logits'] = tuple(v / t for v in graph.ranges['logits'])
    lines = [f'temperature {t:.3f}']
    attack, live = [], []
    for k, (_, label) in parts.items():
        o = odds(zs[k] / t)
        live.append(o[label == pool.LIVE])
        attack.append(o[label != pool.LIVE])
        lines.append(f'{k}: {len(live[-1])} live, {len(attack[-1])} attacked; at log-odds 0 APCER {(attack[-1] > 0).mean():.3f}, '
                     f'BPCER {(live[-1] <= 0).mean():.3f}; '
                     f'log loss {loss(zs[k], label == pool.LIVE, t):.3f}, before {loss(zs[k], label == pool.LIVE, 1.):.3f}')
    # Accepted as live: from where both errors are alike, each part counting the same. Refused as an attack: what fewer than
    # TARGET of the live crops stay under, in the worse of the two parts.
    every = np.sort(np.concatenate(live + attack))[::10]
    gaps = [abs(np.mean([(a >= t).mean() for a in attack]) - np.mean([(o < t).mean() for o in live])) for t in every]
    live_at, spoof_at = every[int(np.argmin(gaps))], min(np.quantile(o, TARGET) for o in live)
    probability = lambda o: float(1 / (1 + np.exp(-o)))
    live_p = round(float(np.clip(probability(live_at), .5, .95)), 2)
    spoof_p = round(float(np.clip(probability(spoof_at), .05, live_p - .15)), 2)
    state.update(live_at=live_p, spoof_at=spoof_p)
    for k, o, a in zip(parts, live, attack):
        p, q = 1 / (1 + np.exp(-o)), 1 / (1 + np.exp(-a))
        lines.append(f'{k}: at live_at {live_p:.2f} attacked crops accepted {(q >= live_p).mean():.3f}, '
                     f'live ones {(p >= live_p).mean():.3f}; '
                     f'at spoof_at {spoof_p:.2f} live ones refused {(p <= spoof_p).mean():.3f}, '
                     f'attacked ones {(q <= spoof_p).mean():.3f}')
    again = {'simulated': simulated(args.data, args.cache, args.crops, args.seed + 1), 'synthetic': parts['synthetic']}
    shown = {}
    for k, (x, label) in again.items():
        shown[k] = reliability(odds(logits(graph, x)), label == pool.LIVE)
        lines.append(f'{k}: expected calibration error {shown[k][1]:.3f}; '
                     + ', '.join(f'{p:.2f} → {q:.2f} ({n})' for n, p, q in shown[k][0]))
    with open(os.path.join(args.cache, 'liveness-reliability.svg'), 'w') as f:
        f.write(diagram(shown))
    state['evidence'] = evidence(live, attack)
    lines.append('evidence: {slope} × log-odds + {offset}, from {least} to {most}'.format(**state['evidence']))
    print(*lines, sep='\n')
    state['calibration'] = lines
    rewrite(graph, state, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest='what', required=True)
    p = what.add_parser('face')
    p.add_argument('cache')
    p = what.add_parser('liveness')
    p.add_argument('data', help='folder of the training pictures (its train/ is read)')
    p.add_argument('cache')
    p.add_argument('--crops', type=int, default=3000, help='simulated captures of training faces')
    p.add_argument('--seed', type=int, default=4242)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    {'face': face, 'liveness': liveness}[args.what](args)


if __name__ == '__main__':
    main()
