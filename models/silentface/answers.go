package silentface

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/livenessd/livenessd/tflite"
)

// answer is what upstream's net says of a drawn picture, as probabilities. The pictures weren't chosen for looking like
// anything, but the nets are undecided about most, so that small errors show.
type answer struct {
	number int
	want   [classes]float64
}

// answersV2 were given by upstream's own code at the pinned commit, in PyTorch 1.13, in double precision.
func answersV2() []answer {
	return []answer{
		{1, [classes]float64{0.5443439, 0.0777691, 0.3778870}},
		{2, [classes]float64{0.3192464, 0.5089203, 0.1718332}},
		{3, [classes]float64{0.0073949, 0.2102146, 0.7823905}},
		{4, [classes]float64{0.9668226, 0.0018471, 0.0313303}},
		{5, [classes]float64{0.9984928, 0.0005828, 0.0009243}},
		{6, [classes]float64{0.0001154, 0.9966532, 0.0032314}},
		{7, [classes]float64{0.3186255, 0.5279917, 0.1533829}},
		{8, [classes]float64{0.6547478, 0.2759479, 0.0693043}},
		{9, [classes]float64{0.8876473, 0.0269158, 0.0854369}},
		{10, [classes]float64{0.1296979, 0.7389681, 0.1313340}},
		{11, [classes]float64{0.0001070, 0.8735919, 0.1263011}},
		{12, [classes]float64{0.7200238, 0.2015342, 0.0784420}},
		{13, [classes]float64{0.0350443, 0.9214682, 0.0434876}},
		{14, [classes]float64{0.6118084, 0.0238656, 0.3643260}},
		{15, [classes]float64{0.0234456, 0.8585026, 0.1180517}},
		{16, [classes]float64{0.9701990, 0.0068052, 0.0229958}},
	}
}

// answersV1SE were given by upstream's own code at the pinned commit, in PyTorch 1.13, in double precision.
func answersV1SE() []answer {
	return []answer{
		{1, [classes]float64{0.0228528, 0.9354938, 0.0416534}},
		{2, [classes]float64{0.0928753, 0.8409332, 0.0661914}},
		{3, [classes]float64{0.0250856, 0.8685328, 0.1063816}},
		{4, [classes]float64{0.9370307, 0.0362242, 0.0267450}},
		{5, [classes]float64{0.6680998, 0.2748804, 0.0570198}},
		{6, [classes]float64{0.5483794, 0.3277462, 0.1238744}},
		{7, [classes]float64{0.5764115, 0.3114488, 0.1121397}},
		{8, [classes]float64{0.2363535, 0.6296058, 0.1340406}},
		{9, [classes]float64{0.0839240, 0.8314797, 0.0845963}},
		{10, [classes]float64{0.3356514, 0.6583828, 0.0059658}},
		{11, [classes]float64{0.0016682, 0.9882910, 0.0100408}},
		{12, [classes]float64{0.8285859, 0.1553555, 0.0160586}},
		{13, [classes]float64{0.0088759, 0.9621227, 0.0290013}},
		{14, [classes]float64{0.3215456, 0.3923274, 0.2861271}},
		{15, [classes]float64{0.8967412, 0.0511611, 0.0520977}},
		{16, [classes]float64{0.4074606, 0.5704965, 0.0220429}},
	}
}

// bounds is how far probabilities may be from the recorded ones.
type bounds struct{ largest, mean float64 }

var (
	floatBounds = bounds{1e-4, 1e-4}
	// 256 steps in fifty layers add up, most where the net is undecided. Right ones were off by .15 at most and .03 on average.
	int8Bounds = bounds{.25, .06}
)

// check lets a converted net look at the pictures, with the delegate and with the built-in kernels.
func check(rt *tflite.Runtime, delegate string, data []byte, int8 bool, answers []answer, allowed bounds) error {
	for _, delegate := range slices.Compact([]string{cmp.Or(delegate, tflite.XNNPACK), tflite.CPU}) {
		if err := checkWith(rt, delegate, data, int8, answers, allowed); err != nil {
			return fmt.Errorf("known answers with delegate %s: %w", delegate, err)
		}
	}
	return nil
}

func checkWith(rt *tflite.Runtime, delegate string, data []byte, int8 bool, answers []answer, allowed bounds) (err error) {
	kind := tflite.Float32
	if int8 {
		kind = tflite.Int8
	}
	r, err := open(rt, data, delegate, int8, []tflite.TensorSpec{{Type: kind, Shape: []int{1, 1, 1, classes}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var sum float64
	for _, a := range answers {
		p := drawn(a.number)
		got, err := r.softmax(&p)
		if err != nil {
			return err
		}
		for i, x := range got {
			d := math.Abs(x - a.want[i])
			if !(d <= allowed.largest) { // not >: a number that isn't one must fail
				return fmt.Errorf("picture %d: the net says %.5f, upstream's says %.5f", a.number, got, a.want)
			}
			sum += d
		}
	}
	if mean := sum / float64(classes*len(answers)); !(mean <= allowed.mean) {
		return fmt.Errorf("the net is off by %.4f on average, at most %.4f is allowed", mean, allowed.mean)
	}
	return nil
}
