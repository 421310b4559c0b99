package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// What the model of a door's day is made of. The shares are those of verdicts.
const (
	liveShare  = 0.88
	spoofShare = 0.03 // the others are undecided

	// flapShare is how often a camera's state changes, for each verdict.
	flapShare = 0.01

	// Act on a verdict for as long as the daemon's own say.
	validity = 5 * time.Second
)

// rush is when people come, in hours of the day, how spread, and how many there are for each at night.
var rush = [...]struct{ hour, spread, height float64 }{{8.25, 0.75, 10}, {12.5, 1, 5}, {17.25, 1, 7}}

// weight is how many come at an hour of the day, against the mean of a day: a constant few, and three rushes. Its mean over a day is 1.
func weight(hour float64) float64 {
	w, sum := 1.0, 24.0
	for _, r := range rush {
		d := math.Mod(hour-r.hour+36, 24) - 12 // the day is a circle
		w += r.height * math.Exp(-d*d/(2*r.spread*r.spread))
		sum += r.height * r.spread * math.Sqrt(2*math.Pi)
	}
	return w * 24 / sum
}

// peak is the most that weight can be.
func peak() float64 {
	m := 0.0
	for h := 0.0; h < 24; h += 1.0 / 60 {
		m = max(m, weight(h))
	}
	return m * 1.001 // between two minutes it may be a little more
}

// load is when presentations happen: a Poisson process whose rate follows the day. The presentations of many devices that don't know of
// each other are one such process again, of which each goes to a device by lot.
type load struct {
	perDay float64 // presentations a day of all devices together
	hour   float64 // of the day when it begins
	speed  float64 // how much faster than real time it runs
	random *rand.Rand
	most   float64
	at     time.Duration // real time of the last one
}

// next is when the next presentation happens, in real time since the beginning.
func (l *load) next() time.Duration {
	if l.most == 0 {
		l.most = peak()
	}
	for {
		perSecond := l.perDay / 86400 * l.speed * l.most
		l.at += time.Duration(l.random.ExpFloat64() / perSecond * float64(time.Second))
		hour := math.Mod(l.hour+l.at.Hours()*l.speed, 24)
		if l.random.Float64()*l.most < weight(hour) {
			return l.at
		}
	}
}

// model is what the simulated devices judge with: nothing.
var model = mqtt.ModelRef{Name: "simulated", Version: "0", SHA256: fmt.Sprintf("%064d", 0)}

// decide makes a verdict up.
func decide(random *rand.Rand, now time.Time, sessions float64) mqtt.Verdict {
	score := 0.0
	v := mqtt.Verdict{Schema: 1, ID: uuid(random, now), LiveAt: 0.56, SpoofAt: 0.19, Score: &score, Action: mqtt.Deny, Frames: 5 + random.IntN(8),
		Face: &mqtt.Face{X: 300 + random.IntN(200), Y: 100 + random.IntN(200), Width: 180, Height: 240}, LatencyMS: 400 + random.Int64N(600),
		DecidedAt: mqtt.Time(now), ExpiresAt: mqtt.Time(now.Add(validity)), ClockSynced: true, Model: model, Delegate: "none"}
	v.CapturedAt = mqtt.Time(now.Add(-time.Duration(v.LatencyMS) * time.Millisecond))
	switch r := random.Float64(); {
	case r < liveShare:
		v.Verdict, v.Action, score = mqtt.Live, mqtt.Allow, 0.9
	case r < liveShare+spoofShare:
		v.Verdict, score = mqtt.Spoof, 0.05
		v.SetCode(mqtt.CodePADAttack)
	default:
		v.Verdict, score = mqtt.Undecided, 0.4
		v.SetCode(mqtt.CodeTimeout)
	}
	if random.Float64() < sessions {
		v.Session = &mqtt.Session{ID: uuid(random, now), Application: "door", Purpose: mqtt.Authentication, Subject: "u1", Nonce: uuid(random, now)}
	}
	return v
}

// messages is how many messages a verdict is.
func messages(v mqtt.Verdict) int {
	n := 1
	if v.Verdict == mqtt.Spoof {
		n++
	}
	if v.Session != nil {
		n++
	}
	return n
}

// uuid is a UUIDv7.
func uuid(random *rand.Rand, now time.Time) string {
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", now.UnixMilli()>>16, now.UnixMilli()&0xffff, random.IntN(1<<12), 0x8000|random.IntN(1<<14),
		random.Int64N(1<<48))
}
