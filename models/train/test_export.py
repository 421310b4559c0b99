"""Each operator that export.py writes, in TFLite against the same operator with fake quantisation in torch.

    python3 -m unittest test_export

Needs the TFLite C library (see tflite.py); without it the comparisons are skipped, and say so.
"""
import unittest

import numpy as np
import torch

import export
import tflite
from nets import FaceNet, LivenessNet, macs
from quantise import Graph, Op, affine, graph_of_face, graph_of_liveness


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


@unittest.skipUnless(tflite.library(), 'no TFLite library: run make in the project\'s root, or set LIVENESSD_TFLITE')
class Operators(unittest.TestCase):
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
