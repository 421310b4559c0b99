// Package policy counts attacks and bans whom they are counted for.
//
// Attacks are counted for a subject where the session names one, and else for the camera, for each application apart. After so many
// within a time (Rule) the subject or camera is banned for a time. The package promises that a ban and every count are on the disk
// before Attack returns nil, so that a process that is killed at any moment neither forgets a ban that was told nor invents one; and that
// where the file can't be read or written, the answer is an error and never "not banned".
//
// Time is running time: that for which the machine has run, by the kernel's clock that nobody can set, as long as it isn't restarted, and
// that for which the daemon has run across restarts of the machine. So a ban lasts its whole time however the wall clock jumps, and ends
// after it: what jumps can neither shorten nor prolong it. The price is that time for which the machine is off doesn't count, and
// that up to a minute more is added where the power is cut.
package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livenessd/livenessd/daemon/store"
)

const (
	bucket   = "policy"
	clockKey = "clock"
	lostKey  = "lost"
	// records begins the keys of counts; the others have no NUL in them.
	records = "of\x00"

	// maxRecords bounds how many subjects and cameras are counted for.
	maxRecords = 10_000
	// maxPending bounds attacks that couldn't be written yet.
	maxPending = 100
	// beat is how often running time is written while anything depends on it.
	beat = time.Minute
)

// ErrFull says that so many are banned that no more can be counted.
var ErrFull = errors.New("too many are banned")

// Rule is what follows on attacks.
type Rule struct {
	Ban    bool // false: nothing follows but the verdict
	After  int
	Within time.Duration
	For    time.Duration
}

// Whom attacks are counted for.
type Whom struct {
	Application string
	Subject     string // "" where the session names none: then it is the camera
	Camera      string
}

func (w Whom) key() string {
	if w.Subject != "" {
		return records + w.Application + "\x00subject\x00" + w.Subject
	}
	return records + w.Application + "\x00camera\x00" + w.Camera
}

// Moment is a reading of the clocks: which boot of the machine it is, and how long ago that was by a clock that nobody sets.
type Moment struct {
	Boot string
	Up   time.Duration
	Wall time.Time // for people who look at the file
}

// Keeper is where counts and bans are kept.
type Keeper interface {
	View(func(*store.Tx) error) error
	Update(func(*store.Tx) error) error
}

var _ Keeper = (*store.Store)(nil)

// Policy is the counts and bans of all applications. Its methods are safe for concurrent use.
type Policy struct {
	mu      sync.Mutex
	keeper  Keeper
	clock   clock // as it was when the policy was opened
	started time.Duration
	last    time.Duration // newest age that was told: it never goes back
	written time.Duration // age at the last write
	pending []pending
	busy    bool // something depends on running time
}

// clock is running time, as it is on the disk.
type clock struct {
	Boot string    `json:"boot"`
	Up   int64     `json:"up_ms"`
	Age  int64     `json:"age_ms"`
	Wall time.Time `json:"wall"`
}

// record is what is known of a subject or camera. Times are running time in milliseconds.
type record struct {
	Attacks []int64   `json:"attacks,omitempty"`
	Until   int64     `json:"until,omitempty"` // of a ban
	Since   time.Time `json:"since,omitzero"`  // by the wall clock, for people
	Keep    int64     `json:"keep"`            // from then on it says nothing
}

// pending is an attack that couldn't be written.
type pending struct {
	whom Whom
	rule Rule
	age  time.Duration
	wall time.Time
}

// New reads what is kept.
func New(k Keeper, now Moment) (*Policy, error) {
	p := &Policy{keeper: k, started: now.Up}
	err := k.View(func(tx *store.Tx) error {
		if err := read(tx, clockKey, &p.clock); err != nil {
			return err
		}
		lost, err := tx.Get(bucket, lostKey)
		p.busy = lost != nil
		return errors.Join(err, each(tx, func(string, record) error {
			p.busy = true
			return nil
		}))
	})
	if err != nil {
		return nil, fmt.Errorf("policy: read counts and bans: %w", err)
	}
	if up := ms(now.Up); p.clock.Boot == now.Boot && up > p.clock.Up {
		p.clock.Age += up - p.clock.Up // the machine went on running
	}
	p.last = time.Duration(p.clock.Age) * time.Millisecond
	p.written = p.last
	return p, nil
}

func ms(d time.Duration) int64 { return d.Milliseconds() }

func read(tx *store.Tx, key string, to any) error {
	v, err := tx.Get(bucket, key)
	if err != nil || v == nil {
		return err
	}
	return json.Unmarshal(v, to)
}

func write(tx *store.Tx, key string, from any) error {
	v, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return tx.Put(bucket, key, v)
}

func each(tx *store.Tx, f func(key string, r record) error) error {
	return tx.Each(bucket, func(key string, value []byte) error {
		if !strings.HasPrefix(key, records) {
			return nil
		}
		var r record
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		return f(key, r)
	})
}

// age is running time.
func (p *Policy) age(now Moment) time.Duration {
	p.last = max(p.last, time.Duration(p.clock.Age)*time.Millisecond+max(0, now.Up-p.started))
	return p.last
}

// update writes what f does, and the clock with it.
func (p *Policy) update(now Moment, f func(tx *store.Tx) error) error {
	age := p.age(now)
	err := p.keeper.Update(func(tx *store.Tx) error {
		return errors.Join(f(tx), write(tx, clockKey, clock{now.Boot, ms(now.Up), ms(age), now.Wall.Round(0)}))
	})
	if err == nil {
		p.written = age
	}
	return err
}

// Forgotten notes that what was kept is lost, with whatever bans there were: until each rule's time of a ban is over, everybody
// whom the rule could have banned counts as banned.
func (p *Policy) Forgotten(now Moment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.update(now, func(tx *store.Tx) error { return write(tx, lostKey, ms(p.last)) }); err != nil {
		return fmt.Errorf("policy: note that bans are lost: %w", err)
	}
	p.busy = true
	return nil
}

// Left tells how long a ban still lasts, 0 for none. With an error nobody knows, and nobody may be let in.
func (p *Policy) Left(now Moment, w Whom, rule Rule) (time.Duration, error) {
	if !rule.Ban {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.flush(now); err != nil {
		return 0, err
	}
	age, left := ms(p.age(now)), int64(0)
	err := p.keeper.View(func(tx *store.Tx) error {
		var r record
		if err := read(tx, w.key(), &r); err != nil {
			return err
		}
		// Whoever shortens the rule's time doesn't mean the bans of later alone.
		left = min(r.Until-age, ms(rule.For))
		lost, err := tx.Get(bucket, lostKey)
		if lost == nil || err != nil {
			return err
		}
		var at int64
		if err := json.Unmarshal(lost, &at); err != nil {
			return err
		}
		left = max(left, at+ms(rule.For)-age)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("policy: look for a ban: %w", err)
	}
	return time.Duration(max(0, left)) * time.Millisecond, nil
}

// Attack counts an attack, and tells how long a ban lasts that it began or that runs, 0 for none. When it can't be written it is kept, and
// until it can be Left gives errors.
func (p *Policy) Attack(now Moment, w Whom, rule Rule) (time.Duration, error) {
	if !rule.Ban {
		return 0, nil
	}
	p.mu.Lock()
	if len(p.pending) < maxPending { // beyond, nobody is let in anyway until these are written
		p.pending = append(p.pending, pending{w, rule, p.age(now), now.Wall})
	}
	err := p.flush(now)
	p.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return p.Left(now, w, rule)
}

// flush writes the attacks that aren't written yet.
func (p *Policy) flush(now Moment) error {
	if len(p.pending) == 0 {
		return nil
	}
	err := p.update(now, func(tx *store.Tx) error {
		if err := p.prune(tx); err != nil {
			return err
		}
		for _, a := range p.pending {
			if err := count(tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("policy: write down an attack: %w", err)
	}
	p.pending, p.busy = nil, true
	return nil
}

func count(tx *store.Tx, a pending) error {
	var r record
	if err := read(tx, a.whom.key(), &r); err != nil {
		return err
	}
	age := ms(a.age)
	if age < r.Until {
		return nil // banned already: nothing is added to it
	}
	r.Attacks = append(slices.DeleteFunc(r.Attacks, func(t int64) bool { return age-t > ms(a.rule.Within) }), age)
	r.Until, r.Since = 0, time.Time{}
	r.Keep = age + ms(a.rule.Within)
	if len(r.Attacks) >= a.rule.After {
		r = record{Until: age + ms(a.rule.For), Since: a.wall.Round(0), Keep: age + ms(a.rule.For)}
	}
	return write(tx, a.whom.key(), r)
}

// prune removes what says nothing any more, and makes room for those that wait.
func (p *Policy) prune(tx *store.Tx) error {
	age := ms(p.last)
	var over, counts []string
	n := 0
	err := each(tx, func(key string, r record) error {
		n++
		switch {
		case r.Keep <= age:
			over = append(over, key)
		case r.Until == 0:
			counts = append(counts, key)
		}
		return nil
	})
	// A count may go where there is no room; a ban may not.
	if more := n - len(over) + len(p.pending) - maxRecords; more > 0 {
		if more > len(counts) {
			return ErrFull
		}
		over = append(over, counts[:more]...)
	}
	for _, key := range over {
		err = errors.Join(err, tx.Delete(bucket, key))
	}
	return err
}

// Unlock lifts the bans of a subject, or of a camera, or with neither all of them, for one application or with "" for each, and forgets
// what was counted. It tells how many bans there were.
func (p *Policy) Unlock(now Moment, w Whom) (lifted int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.flush(now); err != nil {
		return 0, err
	}
	err = p.update(now, func(tx *store.Tx) error {
		lifted = 0
		var keys []string
		err := each(tx, func(key string, r record) error {
			part := strings.SplitN(strings.TrimPrefix(key, records), "\x00", 3)
			if len(part) != 3 || w.Application != "" && w.Application != part[0] ||
				w.Subject != "" && (part[1] != "subject" || part[2] != w.Subject) ||
				w.Camera != "" && (part[1] != "camera" || part[2] != w.Camera) {
				return nil
			}
			if r.Until > ms(p.last) {
				lifted++
			}
			keys = append(keys, key)
			return nil
		})
		if w == (Whom{}) {
			keys = append(keys, lostKey)
		}
		for _, k := range keys {
			err = errors.Join(err, tx.Delete(bucket, k))
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("policy: lift bans: %w", err)
	}
	return lifted, nil
}

// Tick writes running time down each minute, as long as something depends on it, and tries to write what couldn't be written.
func (p *Policy) Tick(now Moment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.flush(now); err != nil {
		return err
	}
	if !p.busy || p.age(now)-p.written < beat {
		return nil
	}
	n := 0
	err := p.update(now, func(tx *store.Tx) error {
		n = 0
		err := p.prune(tx)
		lost, lostErr := tx.Get(bucket, lostKey)
		if lost != nil {
			n++
		}
		return errors.Join(err, lostErr, each(tx, func(string, record) error {
			n++
			return nil
		}))
	})
	if err != nil {
		return fmt.Errorf("policy: write down the time: %w", err)
	}
	p.busy = n > 0
	return nil
}
