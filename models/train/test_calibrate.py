"""Tests of what calibrate.py works out from scores."""
import unittest

import numpy as np

from calibrate import MOST, evidence, reliability


def scores(rng, n, distance, spread=1.):
    """Log-odds of n living and n attacked crops, the two sides so far apart. Of normal ones the ratio is known: distance / spread² a unit."""
    return rng.normal(distance / 2, spread, n), rng.normal(-distance / 2, spread, n)


class Evidence(unittest.TestCase):
    def setUp(self):
        self.rng = np.random.default_rng(1)

    def test_the_line_is_that_of_the_scores(self):
        live, attack = scores(self.rng, 50000, 2.)
        got = evidence([live], [attack])
        self.assertAlmostEqual(got['slope'], 2., delta=.05)
        self.assertAlmostEqual(got['offset'], 0., delta=.05)

    def test_scores_that_are_too_high_are_taken_down(self):
        live, attack = scores(self.rng, 50000, 2.)
        self.assertAlmostEqual(evidence([live + 1], [attack + 1])['offset'], -2., delta=.1)

    def test_parts_weigh_the_same_whatever_their_size(self):
        big, small = scores(self.rng, 20000, 2.), scores(self.rng, 2000, 2.)
        one = evidence([big[0], small[0]], [big[1], small[1]])
        again = evidence([np.tile(big[0], 3), small[0]], [np.tile(big[1], 3), small[1]])
        for k in ('slope', 'offset'):
            self.assertAlmostEqual(one[k], again[k], delta=.01)

    def test_few_samples_prove_little(self):
        live, attack = np.full(9, 5.), np.full(9, -5.)
        got = evidence([live], [attack])
        self.assertAlmostEqual(got['most'], np.log(10), delta=.01)
        self.assertAlmostEqual(got['least'], -np.log(10), delta=.01)

    def test_many_prove_no_more_than_the_bound(self):
        live, attack = scores(self.rng, 50000, 12.)
        got = evidence([live], [attack])
        self.assertEqual((got['least'], got['most']), (-MOST, MOST))

    def test_the_worse_part_says_how_much(self):
        good, bad = scores(self.rng, 5000, 8.), scores(self.rng, 5000, .5)
        both = evidence([good[0], bad[0]], [good[1], bad[1]])
        self.assertEqual(both['most'], evidence([bad[0]], [bad[1]])['most'])

    def test_a_net_that_has_it_the_wrong_way_round_is_refused(self):
        live, attack = scores(self.rng, 1000, -2.)
        with self.assertRaises(SystemExit):
            evidence([live], [attack])


class Reliability(unittest.TestCase):
    def test_log_odds_that_mean_what_they_say_have_no_error_and_others_do(self):
        # Of normal scores one apart in their own spread, the score is the log of the ratio.
        live, attack = scores(np.random.default_rng(1), 100000, 1.)
        o, label = np.concatenate([live, attack]), np.repeat([True, False], [len(live), len(attack)])
        rows, error = reliability(o, label)
        self.assertEqual(sum(n for n, _, _ in rows), len(o))
        for _, p, q in rows:
            self.assertAlmostEqual(p, q, delta=.03)
        self.assertLess(error, .01)
        self.assertGreater(reliability(3 * o, label)[1], .1)

    def test_both_classes_weigh_the_same(self):
        live, attack = scores(np.random.default_rng(2), 20000, 1.)
        live = np.tile(live, 5)
        o, label = np.concatenate([live, attack]), np.repeat([True, False], [len(live), len(attack)])
        self.assertLess(reliability(o, label)[1], .015)


if __name__ == '__main__':
    unittest.main()
