"""What the exporter writes, in TFLite against the same in PyTorch.

    python3 -m unittest test_export

Every operator that models/graph can write, in float32 and in int8, with XNNPACK and with the built-in kernels; then both nets as
training sees them. Needs Go, for the writer, and the TFLite C library (see tflite.py); without the library the comparisons are
skipped, and say so.
"""
import itertools
import unittest

import numpy as np
import torch
import torch.nn.functional as F

import export
import tflite
from nets import FaceNet, LivenessNet, macs
from quantise import Graph, Op, affine, graph_of_face, graph_of_liveness

NEEDS = unittest.skipUnless(tflite.library(), 'no TFLite library: run make in the project\'s root, or set LIVENESSD_TFLITE')


class Sketch:
    """A described net of random numbers, and PyTorch's answers for each of its values, in double precision."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        h, w = self.rng.integers(6, 20, 2)
        self.sizes = {'input': (int(h), int(w), 3)}
        self.ops, self.constants = [], {}

    def add(self, kind, *inputs, constants=(), **how):
        name = f'{kind}{len(self.ops)}'
        self.ops.append({'kind': kind, 'name': name, 'inputs': list(inputs), **how})
        self.constants[name] = constants
        # Its size is found by trying.
        self.sizes[name] = self.apply(self.ops[-1], [np.zeros(self.sizes[i]) for i in inputs]).shape
        return name

    def filter(self, kind, x, k, outputs=0, **how):
        c = self.sizes[x][2]
        shape = (outputs, k, k, c) if kind == 'conv' else (k, k, c)
        axis = 0 if kind == 'conv' else 2
        n = shape[axis]
        # Channels of different size, so that a wrong scale for one shows.
        size = 10 ** self.rng.uniform(-.5, .5, n) / (k * (c if kind == 'conv' else 1) ** .5) * (.02 if x == 'input' else 1)
        w = self.rng.normal(0, 1, shape) * size.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        constants = w.astype(np.float32), self.rng.normal(0, 1, n).astype(np.float32)
        more = {'outputs': outputs} if kind == 'conv' else {}
        return self.add(kind, x, constants=constants, window=[k, k], **more, **how)

    def start(self, channels=6):
        """A value with both signs, other than pixels."""
        return self.filter('conv', 'input', 3, channels, stride=1, same=True)

    def picture(self):
        h, w, c = self.sizes['input']
        return self.rng.integers(0, 256, (h, w, c)).astype(np.uint8)

    def apply(self, op, x, constants=None):
        """One operator on values of height × width × channels."""
        kind, constants = op['kind'], self.constants[op['name']] if constants is None else constants
        t = [torch.from_numpy(np.asarray(v, np.float64)).permute(2, 0, 1)[None] for v in x]
        y = t[0]
        if kind in ('conv', 'depthwise'):
            w, b = (torch.from_numpy(np.asarray(v, np.float64)) for v in constants)
            k, s = op['window'][0], op['stride']
            if op['same']:  # TensorFlow's
                around = [max(0, -(-n // s) * s - s + k - n) for n in y.shape[2:]]
                y = F.pad(y, (around[1] // 2, around[1] - around[1] // 2, around[0] // 2, around[0] - around[0] // 2))
            w = w.permute(0, 3, 1, 2) if kind == 'conv' else w.permute(2, 0, 1)[:, None]
            y = F.conv2d(y, w, b, s, groups=1 if kind == 'conv' else len(w))
        elif kind == 'pad':
            top, bottom, left, right = op['edges']
            y = F.pad(y, (left, right, top, bottom))
        elif kind == 'prelu':
            y = F.prelu(y, torch.from_numpy(np.asarray(constants[0], np.float64)))
        elif kind == 'add':
            y = t[0] + t[1]
        elif kind == 'mul':
            y = t[0] * t[1]
        elif kind == 'mean':
            y = y.mean((2, 3), keepdim=True)
        elif kind == 'logistic':
            y = torch.sigmoid(y)
        elif kind == 'double':
            y = F.interpolate(y, scale_factor=2, mode='bilinear', align_corners=False)
        else:
            raise ValueError(f'this test knows nothing of {kind}')
        y = {None: lambda v: v, 'relu': F.relu, 'relu6': F.relu6}[op.get('activation')](y)
        return y[0].permute(1, 2, 0).numpy()

    def values(self, picture):
        at = {'input': picture}
        for op in self.ops:
            at[op['name']] = self.apply(op, [at[i] for i in op['inputs']])
        return at

    def described(self):
        """For export.write: all values are outputs, and ranges are what some pictures gave."""
        seen = [self.values(self.picture()) for _ in range(6)]
        self.range = {op['name']: [float(f([f(v[op['name']]) for v in seen])) for f in (np.amin, np.amax)] for op in self.ops}
        ops = [op if op['kind'] in ('pad', 'logistic', 'double') else {**op, 'range': self.range[op['name']]} for op in self.ops]
        h, w, c = self.sizes['input']
        net = {'format': 'livenessd-net', 'version': 1, 'description': 'test', 'outputs': [op['name'] for op in self.ops],
               'input': {'name': 'input', 'height': h, 'width': w, 'channels': c}, 'operators': ops}
        return net, [c for op in self.ops for c in self.constants[op['name']]]

    def quantised(self, op, scale):
        """An operator's constants as int8 has them, and how many steps apart answers may be. scale: of each value."""
        if op['kind'] == 'prelu':  # is x + relu((slope − 1)·x): the product is rounded as well
            real = self.constants[op['name']][0] - 1.
            s, zero = affine(float(real.min()), 0.)
            stored = np.clip(np.rint(real / s) + zero, -128, 127)
            product = affine(0., float((real * self.range[op['inputs'][0]][0]).max()))[0]
            return [1 + s * (stored - zero)], 1 + int(np.ceil(product / 2 / scale[op['name']]))
        if op['kind'] not in ('conv', 'depthwise'):
            return None, 1
        w, b = self.constants[op['name']]
        axis = 0 if op['kind'] == 'conv' else 2
        t = torch.from_numpy(w)
        s = (t.abs().amax([i for i in range(t.dim()) if i != axis]) / 127)
        q = torch.fake_quantize_per_channel_affine(t, s, torch.zeros(len(s), dtype=torch.int32), axis, -127, 127)
        step = s.numpy() * np.float32(scale[op['inputs'][0]])
        return [q.numpy(), np.rint(b / step.astype(np.float64)) * step], 1


@NEEDS
class Operators(unittest.TestCase):
    """A test for each kind that the writer knows, called after it."""

    def agree(self, sketch):
        """float32: within a hundred-thousandth of the largest number. int8: from the very integers that TFLite had, at most one
        step from what PyTorch's fake quantisation makes of them."""
        self.assertIn(sketch.ops[-1]['kind'], self.id().split('.')[-1])
        described = sketch.described()
        files = {form: export.write(*described, form) for form in ('float32', 'int8')}
        for xnnpack in (False, True):
            for form, data in files.items():
                ip = tflite.Interpreter(data, xnnpack)
                for _ in range(3):
                    x = sketch.picture()
                    getattr(self, form)(sketch, ip, x, f'{form}, XNNPACK {xnnpack}')

    def float32(self, sketch, ip, x, what):
        want = sketch.values(x)
        for op, got in zip(sketch.ops, ip.real(x)):
            largest = np.abs(want[op['name']]).max()
            self.assertEqual(got[0].shape, want[op['name']].shape)
            self.assertLessEqual(np.abs(got[0] - want[op['name']]).max(), 1e-5 * largest, f'{what}: {op}')

    def int8(self, sketch, ip, x, what):
        names = ['input'] + [op['name'] for op in sketch.ops]
        stored = dict(zip(names, [x.astype(int) - 128] + [o[0].astype(int) for o in ip(x)]))
        scale = dict(zip(names, [1.] + [s for _, s, _ in ip.outputs]))
        zero = dict(zip(names, [-128] + [z for _, _, z in ip.outputs]))
        for op in sketch.ops:
            constants, most = sketch.quantised(op, scale)
            name = op['name']
            want = sketch.apply(op, [(stored[i] - zero[i]) * np.float64(scale[i]) for i in op['inputs']], constants)
            want = np.clip(np.rint(want / scale[name] + zero[name]), -128, 127)
            self.assertEqual(stored[name].shape, want.shape)
            self.assertLessEqual(np.abs(stored[name] - want).max(), most, f'{what}: {op}')
            if want.size > 8:
                self.assertGreater(want.std(), 3, f'the test says nothing: {op}')

    def filters(self, kind):
        ways = itertools.product((1, 3, 5), (1, 2), (False, True), (None, 'relu', 'relu6'))
        for seed, (k, stride, same, act) in enumerate(ways):
            with self.subTest(window=k, stride=stride, same=same, activation=act):
                s = Sketch(seed)
                x = 'input' if kind == 'conv' and seed % 2 else s.start(int(s.rng.integers(3, 12)))
                how = {'activation': act} if act else {}
                s.filter(kind, x, k, int(s.rng.integers(3, 20)) if kind == 'conv' else 0, stride=stride, same=same, **how)
                self.agree(s)

    def test_conv(self):
        self.filters('conv')

    def test_depthwise(self):
        self.filters('depthwise')

    def test_pad(self):
        for seed in range(4):
            s = Sketch(seed)
            s.add('pad', s.start(), edges=[int(v) for v in s.rng.integers(0, 4, 4)])
            self.agree(s)

    def test_prelu(self):
        for seed in range(4):
            s = Sketch(seed)
            s.add('prelu', s.start(), constants=[s.rng.uniform(-1.2, 1, 6).astype(np.float32)])
            self.agree(s)

    def test_add(self):
        for seed, act in enumerate((None, 'relu', 'relu6') * 2):
            with self.subTest(activation=act):
                s = Sketch(seed)
                a, b = s.start(), s.filter('conv', 'input', 1, 6, stride=1, same=True, activation='relu6')
                s.add('add', a, b, **({'activation': act} if act else {}))
                self.agree(s)

    def gate(self, seed):
        s = Sketch(seed)
        x = s.start()
        return s, x, s.add('logistic', s.filter('conv', s.add('mean', x), 1, 6, stride=1, same=True))

    def test_mul(self):
        for seed in range(4):
            s, x, gate = self.gate(seed)
            s.add('mul', x, gate)
            self.agree(s)

    def test_mean(self):
        for seed in range(4):
            s = Sketch(seed)
            s.add('mean', s.start(12))
            self.agree(s)

    def test_logistic(self):
        for seed in range(4):
            self.agree(self.gate(seed)[0])

    def test_double(self):
        for seed in range(4):
            s = Sketch(seed)
            s.add('double', s.start())
            self.agree(s)

    def test_every_kind_has_a_test(self):
        kinds = export.writer('-kinds').split()
        self.assertGreater(len(kinds), 5)
        for kind in kinds:
            self.assertTrue(hasattr(self, 'test_' + kind), f'no test compares {kind} with PyTorch')


def single(kind, weights, shape=(3, 16, 24), output='y', more=(), **how):
    """A graph of one operator, or of those that make its inputs and it."""
    g = Graph(shape, [*more, Op(kind, how.pop('inputs', [Graph.INPUT]), output, **how)], weights, [output])
    x = torch.randint(0, 256, (8, *shape), generator=torch.Generator().manual_seed(1)).float()
    g.measure([x], {None: 0})
    return g


def weights(o, i, k, seed=2):
    r = torch.Generator().manual_seed(seed)
    # Channels of very different size, so that a wrong scale per channel shows.
    w = torch.randn(o, i, k, k, generator=r) * torch.logspace(-3.5, -1.5, o)[:, None, None, None]
    return w, torch.randn(o, generator=r)


@NEEDS
class Trained(unittest.TestCase):
    """What quantise.py trains is what the file computes."""

    def agree(self, g, worst=1, mean=.35):
        """XNNPACK's and the built-in kernels' answers are within worst steps of torch's, and nearer on average."""
        data = export.convert(g, 'test')
        r = np.random.default_rng(3)
        for xnnpack in (False, True):
            ip = tflite.Interpreter(data, xnnpack)
            apart = {n: [] for n in g.outputs}
            for _ in range(5):
                x = r.integers(0, 256, (g.shape[1], g.shape[2], 3)).astype(np.uint8)
                with torch.no_grad():
                    wanted = g(torch.from_numpy(x).permute(2, 0, 1)[None].float())
                for name, got, want in zip(g.outputs, ip(x), wanted):
                    scale, zero = g.quantisation(name)
                    want = np.clip(np.rint(want.numpy().transpose(0, 2, 3, 1) / scale + zero), -128, 127)
                    self.assertEqual(got.shape, want.shape)
                    self.assertGreater(want.std(), 3, 'the test says nothing')
                    apart[name].append(np.abs(got.astype(int) - want))
            for name, d in apart.items():
                self.assertLessEqual(np.max(d), worst, f'{name}, XNNPACK {xnnpack}')
                self.assertLessEqual(np.mean(d), mean, f'{name}, XNNPACK {xnnpack}')

    def test_convolution(self):
        for name, k, how in (('3×3', 3, {}), ('stride 2 pads right and bottom', 3, {'stride': 2}), ('1×1', 1, {}),
                             ('with ReLU6', 3, {'act': True}), ('without padding', 5, {'same': False})):
            with self.subTest(name):
                self.agree(single('conv', {'y': weights(8, 3, k)}, **how))

    def test_depthwise(self):
        g = single('depthwise', {'x': weights(8, 3, 3), 'y': weights(8, 1, 5)}, shape=(3, 5, 5), inputs=['x'], act=True, same=False,
                   more=[Op('conv', [Graph.INPUT], 'x', act=True)])
        self.agree(g)

    def test_addition_of_different_ranges(self):
        for act in (False, True):
            with self.subTest(act=act):
                more = [Op('conv', [Graph.INPUT], 'a', act=True), Op('conv', [Graph.INPUT], 'b')]
                w, b = weights(8, 3, 3, seed=7)
                g = single('add', {'a': weights(8, 3, 3), 'b': (w / 10, b)}, inputs=['a', 'b'], act=act, more=more)
                # A convolution may be off by one of its own steps, which are coarser than the sum's.
                self.agree(g, worst=1 + int(np.ceil(g.quantisation('b')[0] / g.quantisation('y')[0])))

    def test_resize_shares_the_quantisation_of_its_input(self):
        g = single('resize', {'a': weights(8, 3, 3)}, inputs=['a'], more=[Op('conv', [Graph.INPUT], 'a')])
        self.assertEqual(g.quantisation('y'), g.quantisation('a'))
        self.agree(g)

    def test_whole_nets(self):
        torch.manual_seed(4)
        for net, graph in ((LivenessNet(), graph_of_liveness), (FaceNet(), graph_of_face)):
            with self.subTest(type(net).__name__):
                shape = (80, 80) if isinstance(net, LivenessNet) else (160, 224)
                x = torch.randint(0, 256, (4, 3, *shape)).float()
                with torch.no_grad():
                    for _ in range(30):  # batch norm learns what there is
                        net(x)
                for m in net.modules():
                    if isinstance(m, torch.nn.Conv2d) and m.bias is not None:
                        torch.nn.init.normal_(m.weight)  # heads that say something
                g = graph(net.eval())
                g.measure([x], {None: 0})
                # Roundings add up through the layers; what they add up to is small beside 255 steps.
                self.agree(g, worst=24, mean=3.)


class Graphs(unittest.TestCase):
    def test_folding_changes_nothing(self):
        torch.manual_seed(5)
        for net, graph, size in ((LivenessNet(), graph_of_liveness, (80, 80)), (FaceNet(), graph_of_face, (160, 224))):
            x = torch.randint(0, 256, (2, 3, *size)).float()
            with torch.no_grad():
                for _ in range(5):
                    net(x)
                net.eval()
                wanted = [net(x)[0]] if isinstance(net, LivenessNet) else [t for pair in net(x) for t in pair]
                got = graph(net)(x, fake=False)
            for a, b in zip(got, wanted):
                self.assertLess(float((a.flatten(1) - b.flatten(1)).abs().max()), 2e-3 * float(b.abs().max()) + 1e-4)
            self.assertEqual(graph(net).macs(), macs(net, *size) - (256 * 128 if isinstance(net, LivenessNet) else 0))

    def test_the_detector_keeps_its_budget(self):
        self.assertLessEqual(macs(FaceNet(), 160, 224), 30e6)

    def test_zero_is_exact(self):
        for low, high in ((-1.3, 7.7), (0., 6.), (-4., 0.), (.5, 3.)):
            scale, zero = affine(low, high)
            self.assertTrue(-128 <= zero <= 127)
            self.assertAlmostEqual((zero - zero) * scale, 0.)
            self.assertGreaterEqual((127 - zero) * scale, high - scale)

    def test_same_graph_gives_the_same_bytes(self):
        g = graph_of_liveness(LivenessNet().eval())
        g.measure([torch.randint(0, 256, (2, 3, 80, 80)).float()], {None: 0})
        self.assertEqual(export.convert(g, 'x'), export.convert(g, 'x'))


if __name__ == '__main__':
    unittest.main()
