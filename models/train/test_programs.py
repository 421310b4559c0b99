"""What all programs of this folder have in common, and that what was stopped goes on.

    python3 -m unittest test_programs
"""
import ast
import glob
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch

from schedule import Schedule

HERE = os.path.dirname(os.path.abspath(__file__))
# Those that draw nothing at random, or draw a cast that is written down in them.
WITHOUT_SEED = {'check.py', 'clip.py', 'export.py', 'faces.py', 'golden.py', 'preprocess.py'}


class Programs(unittest.TestCase):
    def test_each_explains_itself_and_takes_a_seed(self):
        seen = 0
        for path in sorted(glob.glob(os.path.join(HERE, '*.py'))):
            text, name = pathlib.Path(path).read_text('utf-8'), os.path.basename(path)
            if '__main__' not in text or name.startswith('test_'):
                continue
            seen += 1
            with self.subTest(name):
                r = subprocess.run([sys.executable, '-B', path, '--help'], capture_output=True, text=True)
                self.assertEqual(r.returncode, 0, r.stderr)
                self.assertIn(ast.get_docstring(ast.parse(text)).split('\n')[0], r.stdout)
                if name not in WITHOUT_SEED:
                    self.assertRegex(text, "add_argument\\('(--)?seed'")
        self.assertGreater(seen, 10)


class Schedules(unittest.TestCase):
    def trained(self, path, steps, of=None):
        torch.manual_seed(1)
        net = torch.nn.Linear(2, 1)
        s = Schedule(path, 1., net, torch.optim.SGD(net.parameters(), .1), 10, of=of)
        first = s.seen
        for _ in range(steps):
            net.weight.data += 1
            s.step(5)
        s.save()
        return first, net.weight.detach().clone(), s

    def test_what_was_stopped_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'x.pt')
            first, weight, s = self.trained(path, 3, of='this')
            self.assertEqual((first, s.seen), (0, 15))
            again, more, s = self.trained(path, 2, of='this')
            self.assertEqual((again, s.seen), (15, 25))
            self.assertTrue(torch.equal(more, weight + 2))
            self.assertGreaterEqual(s.spent, s.before)
            self.assertEqual(self.trained(path, 0, of='that')[0], 0, 'the checkpoint of something else was taken')

    def test_without_a_path_nothing_is_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            before = os.getcwd()
            os.chdir(folder)
            try:
                self.assertEqual(self.trained('', 1)[0], 0)
                self.assertEqual(os.listdir(folder), [])
            finally:
                os.chdir(before)


if __name__ == '__main__':
    unittest.main()
