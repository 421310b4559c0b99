"""Makes the liveness net's logits mean what they say, and chooses the thresholds that its manifest recommends.

    calibrate.py DATA CACHE

One temperature is fitted on simulated captures of the training faces (genuine, behind simulated screens and paper) and on
synthetic people of seeds that were never trained on (people.py CACHE/synthetic/held … 2 DATA), and folded into the last layer
of CACHE/liveness-int8.pt, with the thresholds beside it. Nothing of data/dev is looked at. What is stated here are error rates
on simulated attacks: real ones are another matter, see evaluate.py.
"""
import argparse
import json
import os

import cv2
import numpy as np
import torch

import pool
import recapture as rc
from crops import crop
from pipeline import odds
from quantise import Graph

TARGET = .05  # of the live crops, single frames, may be called attacks


def simulated(data, cache, n, seed):
    """Crops of training faces and their true classes under simulation."""
    maker = pool.Maker(data, cache, seed)
    rng = maker.rng
    x, label = [], []
    for i in range(n):
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder of the training pictures (its train/ is read)')
    parser.add_argument('cache')
    parser.add_argument('--crops', type=int, default=3000, help='simulated captures of training faces')
    parser.add_argument('--seed', type=int, default=4242)
    args = parser.parse_args()
    torch.set_num_threads(1)
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
        lines.append(f'{k}: {len(live[-1])} live, {len(attack[-1])} attacked; at log-odds 0 APCER {(attack[-1] > 0).mean():.3f}, BPCER {(live[-1] <= 0).mean():.3f}; '
                     f'log loss {loss(zs[k], label == pool.LIVE, t):.3f}, before {loss(zs[k], label == pool.LIVE, 1.):.3f}')
    # Accepted as live: from where both errors are alike, each part counting the same. Refused as an attack: what fewer than
    # TARGET of the live crops stay under, in the worse of the two parts.
    every = np.sort(np.concatenate(live + attack))[::10]
    gaps = [abs(np.mean([(a >= t).mean() for a in attack]) - np.mean([(o < t).mean() for o in live])) for t in every]
    live_at, spoof_at = every[int(np.argmin(gaps))], min(np.quantile(o, TARGET) for o in live)
    probability = lambda o: float(1 / (1 + np.exp(-o)))
    live_p = float(np.clip(probability(live_at), .5, .95))
    spoof_p = float(np.clip(probability(spoof_at), .05, live_p - .15))
    state.update(live_at=round(live_p, 2), spoof_at=round(spoof_p, 2))
    for k, o, a in zip(parts, live, attack):
        p, q = 1 / (1 + np.exp(-o)), 1 / (1 + np.exp(-a))
        lines.append(f'{k}: at live_at {state["live_at"]} attacked crops accepted {(q >= state["live_at"]).mean():.3f}, live ones accepted {(p >= state["live_at"]).mean():.3f}; '
                     f'at spoof_at {state["spoof_at"]} live ones refused {(p <= state["spoof_at"]).mean():.3f}, attacked ones refused {(q <= state["spoof_at"]).mean():.3f}')
    print(*lines, sep='\n')
    more = {k: v for k, v in state.items() if k not in ('shape', 'outputs', 'ranges', 'ops', 'weights')}
    more['calibration'] = lines
    graph.save(path, **more)


if __name__ == '__main__':
    main()
