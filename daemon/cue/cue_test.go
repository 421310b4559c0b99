package cue

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"
	"testing"
	"time"

	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon/decision"
)

func TestWhatIsOffDoubtsNothing(t *testing.T) {
	w := New(Options{})
	s := people(1, 1, 0)[0]
	for i := range 100 {
		if ds := w.Frame(epoch.Add(time.Duration(i)*time.Second/15), &s.m, s.face); len(ds) != 0 {
			t.Fatalf("%+v", ds)
		}
	}
}

func TestOneFrameTwiceIsOneAndTimeThatGoesBackBeginsAnew(t *testing.T) {
	w := New(Options{Repeat: true, Flat: true})
	s := people(1, 1, 0)[0]
	for range 100 {
		if ds := w.Frame(epoch, &s.m, s.face); len(ds) != 0 {
			t.Fatalf("one frame is %+v", ds)
		}
	}
	for i := range 100 {
		if ds := w.Frame(epoch.Add(-time.Duration(i)*time.Second/15), &s.m, s.face); len(ds) != 0 {
			t.Fatalf("backwards, it is %+v", ds)
		}
	}
}

// all is a watch with everything on, and the pair beside it.
func all() (*Watch, *Pair) {
	p := new(Pair)
	return New(Options{Repeat: true, Flat: true, Pair: p, Required: true}), p
}

func TestAFrameCostsNoAllocation(t *testing.T) {
	w, p := all()
	shots := people(60, 3, 1)
	i := 0
	faces := []Box{irFace}
	got := testing.AllocsPerRun(300, func() {
		s := &shots[i%len(shots)]
		at := epoch.Add(time.Duration(i) * time.Second / 15)
		p.See(at, &s.m, faces)
		w.Frame(at, &s.m, s.face)
		i++
	})
	if got != 0 {
		t.Errorf("%v allocations a frame", got)
	}
}

// FuzzFrame plays pictures of any size, face and time. Whatever they are, no doubt is live, and each says why.
func FuzzFrame(f *testing.F) {
	f.Add(uint16(640), uint16(480), uint8(1), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, 100.0, 80.0, 90.0, 120.0)
	f.Add(uint16(1), uint16(1), uint8(2), []byte{0}, 0.0, 0.0, 1.0, 1.0)
	f.Add(uint16(3), uint16(999), uint8(4), []byte("a picture, or none"), -5.0, 7.0, 2000.0, 3.5)
	f.Add(uint16(161), uint16(119), uint8(1), []byte{255, 0, 128}, math.NaN(), 1e300, math.Inf(1), -1.0)
	f.Fuzz(func(t *testing.T, width, height uint16, step uint8, data []byte, x, y, w, h float64) {
		wd, ht, st := int(width%256)+1, int(height%256)+1, int(step%4)+1
		pix := make([]byte, ((wd-1)*st+1)*(ht-1)+(wd-1)*st+1)
		for i := range pix {
			if len(data) > 0 {
				pix[i] = data[i%len(data)] + byte(i/7)
			}
		}
		m := frame.Image{Width: wd, Height: ht, Full: true, Y: frame.Plane{Pix: pix, Stride: (wd-1)*st + 1, Step: st}}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		watch, pair := all()
		face := Box{x, y, w, h}
		now := epoch
		for i := range 40 {
			if i < len(data) {
				now = now.Add(time.Duration(int8(data[i])) * 5 * time.Millisecond)
				pix[i%len(pix)] ^= data[i]
			}
			now = now.Add(70 * time.Millisecond)
			pair.See(now, &m, []Box{face, {y, x, h, w}})
			for _, d := range watch.Frame(now, &m, &face) {
				if d.Verdict != decision.Spoof && d.Verdict != decision.Undecided || d.Code == "" || d.Cue == "" {
					t.Fatalf("a doubt that says %+v", d)
				}
			}
			short := m
			short.Y.Pix = pix[:len(pix)-1]
			watch.Frame(now.Add(time.Millisecond), &short, &face)
		}
	})
}

func TestATurnedPictureIsSeenAsWhatItShows(t *testing.T) {
	shots := people(2, 3, 1)
	for _, degrees := range []int{90, 180, 270} {
		turned := shots[0].m.Turned(degrees).Mirrored().Part(image.Rect(8, 4, 200, 220))
		pix := make([]byte, 0, turned.Width*turned.Height)
		for y := range turned.Height {
			for x := range turned.Width {
				pix = append(pix, turned.Y.At(x, y))
			}
		}
		upright := frame.Grey(pix, turned.Width, turned.Height, turned.Width)
		var a, b small
		a.take(&turned)
		b.take(&upright)
		if a.pix != b.pix {
			t.Errorf("%d degrees: the small picture is another one", degrees)
		}
		if light(&turned) != light(&upright) {
			t.Errorf("%d degrees: light %v, want %v", degrees, light(&turned), light(&upright))
		}
		r := newRepeat()
		was := r.digest(&turned)
		if again := r.digest(&turned); again != was {
			t.Errorf("%d degrees: the same picture has two digests", degrees)
		}
		turned.Y.Pix[turned.Y.Origin+turned.Y.Step] ^= 1
		if r.digest(&turned) == was {
			t.Errorf("%d degrees: another picture has the same digest", degrees)
		}
		turned.Y.Pix[turned.Y.Origin+turned.Y.Step] ^= 1
	}
}

// FuzzFit learns from any faces: a map that it gives is one that Check takes.
func FuzzFit(f *testing.F) {
	f.Add([]byte("learn a map from these"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var all []Match
		for ; len(data) >= 16 && len(all) < 64; data = data[16:] {
			v := func(i int) float64 { return float64(int16(binary.LittleEndian.Uint16(data[2*i:]))) / 8192 }
			all = append(all, Match{Box{v(0), v(1), v(2), v(3)}, Box{v(4), v(5), v(6), v(7)}})
		}
		if m, off, err := Fit(all); err == nil && (m.Check() != nil || math.IsNaN(off)) {
			t.Fatalf("%v, off by %v", m, off)
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	shots := people(30, 3, 1)
	for _, size := range []struct{ w, h, step int }{{640, 480, 1}, {640, 480, 2}, {1280, 720, 1}, {1920, 1080, 1}} {
		var frames []frame.Image
		for _, s := range shots {
			pix := make([]byte, size.w*size.h*size.step)
			for y := range size.h {
				for x := range size.w {
					pix[(y*size.w+x)*size.step] = s.m.Y.Pix[y*camH/size.h*camW+x*camW/size.w]
				}
			}
			frames = append(frames, frame.Image{Width: size.w, Height: size.h, Full: true, Y: frame.Plane{Pix: pix, Stride: size.w * size.step, Step: size.step}})
		}
		for _, o := range []struct {
			name string
			o    Options
		}{{"repeat", Options{Repeat: true}}, {"flat", Options{Flat: true}}, {"infrared", Options{Pair: new(Pair), Required: true}}} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", o.name, size.w, size.h, size.step), func(b *testing.B) {
				b.ReportAllocs()
				w, i := New(o.o), 0
				for b.Loop() {
					s := shots[i%len(shots)]
					k := float64(size.w) / camW
					face := Box{s.face.X * k, s.face.Y * k, s.face.W * k, s.face.H * k}
					w.Frame(epoch.Add(time.Duration(i)*time.Second/15), &frames[i%len(frames)], &face)
					i++
				}
			})
		}
	}
}
