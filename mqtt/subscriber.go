package mqtt

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/livenessd/livenessd/mqtt/sign"
)

const (
	defaultOverdue  = 30 * time.Second
	defaultUnsigned = 5 * time.Second
	defaultDevices  = 1000
	// looking is how often a Subscriber looks for what didn't come.
	looking = 250 * time.Millisecond
)

// SubscriberOptions of a Subscriber.
type SubscriberOptions struct {
	SubscribeOptions

	// Keys are the public keys of each device, from the device itself. Where they aren't nil, only what a key of its device signed is accepted,
	// and nothing of a device that has none here. A verdict that was decided after its key's Until is refused.
	Keys map[string][]sign.Public
	// Expecting refuses answers of sessions whose nonce Expect wasn't told of.
	Expecting bool

	Now      func() time.Time // nil is time.Now
	Overdue  time.Duration    // how long a missing number is waited for, while its device is there and sends nothing late; 0 is 30 s
	Unsigned time.Duration    // how long a verdict may wait for its signature; 0 is 5 s
	// MaxDevices is how many are remembered; 0 is 1000. Of one that is forgotten, duplicates and gaps aren't known.
	MaxDevices int
}

// Event is one thing that a Subscriber has to tell: exactly one of its pointers is set, or Availability. Of all of them only Verdict is for acting
// on, and only that can be signed.
type Event struct {
	At     time.Time // when it came, by the subscriber's clock
	Device string    // "" where it is about the connection
	Camera string    // of Verdict, State and Hint

	Verdict    *Accepted
	Gap        *Missing
	Refused    *Refused
	Connection *Connection

	Availability string // Online or Offline
	State        *CameraState
	Info         *Info
	Hint         *Hint
	Retained     bool // of these four: it is older than the subscription
}

// Accepted is a verdict that is whole, its device's, and came for the first time.
type Accepted struct {
	Verdict Verdict
	// Act is what may be done now. It is Deny, whatever the verdict says, where that is late or older than another one of its camera, and where
	// answers are expected and it is none.
	Act   Action
	Late  Lateness // why it is too late to act, "" if it isn't
	Older bool     // a newer one of its camera, neither of them a session's, came before it
	Key   string   // id of the key that signed it; "" where signatures don't count
}

// Lateness is why nobody may act on a verdict any more.
type Lateness string

// The reasons for it.
const (
	LateReplayed Lateness = "replayed" // its device says so
	LateExpired  Lateness = "expired"  // expires_at is over, by the subscriber's clock
	LateClock    Lateness = "clock"    // it was decided in the future: one of the two clocks is wrong, and nobody knows how old it is
)

// Missing is verdicts that didn't come.
type Missing struct {
	Boot   string     // "" where nobody knows
	Ranges []SeqRange // none where nobody knows
	// Announced is what the device says of it. nil: it says nothing, and they are missing all the same. One that comes later is accepted.
	Announced *Gap
	Away      bool // not announced: they may have come while there was no connection
}

// Refused is a message on which nobody may act.
type Refused struct {
	Topic   string
	Why     Reason
	Err     error
	Verdict *Verdict // what it says, where that can be read; it may be forged
}

// Reason is why a message is refused.
type Reason string

// The reasons for it.
const (
	RefusedMalformed Reason = "malformed" // not what its topic's schema says
	RefusedRetained  Reason = "retained"  // what isn't retained by devices: somebody keeps an old one at the broker
	RefusedTopic     Reason = "topic"     // of another device, camera or session than its topic
	RefusedKey       Reason = "key"       // signed by a key that isn't this device's, or wasn't any more
	RefusedSignature Reason = "signature" // altered, or signed by another key than it says
	RefusedUnsigned  Reason = "unsigned"  // no signed form of it came
	RefusedAltered   Reason = "altered"   // not what came, or was signed, under its number
	RefusedNonce     Reason = "nonce"     // an answer that nobody here waits for, or waits for any more
	RefusedForgotten Reason = "forgotten" // it may have come before: too many numbers are missing to know
)

// Connection is a change of the connection to the broker.
type Connection struct {
	Connected bool
	Err       error // why it was lost, or can't be made; it may have a Hint
}

// SubscriberStats is what a Subscriber has seen so far.
type SubscriberStats struct {
	Accepted   uint64 // verdicts
	Duplicates uint64 // verdicts that came again
	Refused    uint64 // messages
	Missing    uint64 // gaps that nobody announced
	Forgotten  uint64 // devices, and starts of devices, for which there was no room any more
}

// Subscriber tells what devices say, in the order in which it comes: verdicts, each once, and what was refused, and why; what is missing, with
// or without a word of the device; and the rest.
//
// It accepts a verdict that ParseVerdict reads, on a topic of its own device, camera and session, not retained, and not under a number
// (device, boot, seq) that came before; with Keys only if a key of the device signed these very bytes; with Expecting only
// if its nonce, where it has a session, is one that Expect was told of and that wasn't answered yet. Bad input is an event, never a panic.
//
// A number that is missing is told when its device was connected for the time of Overdue, sent nothing late, and didn't announce it in a Gap.
// Numbers of before the subscription aren't missed. That the last numbers of a run are missing can't be seen. With a connection lost
// meanwhile they may have come then, which Missing says; a broker keeps nothing for a Subscriber that isn't connected.
//
// What it remembers is bounded: MaxDevices devices, and of each eight starts, up to 512 gaps in the numbers of each start, and what the newest
// 64 verdicts said. A verdict of which it can't tell any more whether it came before is refused as forgotten. What was forgotten together with its
// device or start may be accepted a second time, but not to be acted on once it has expired.
type Subscriber struct {
	events chan Event

	mu sync.Mutex
	in *inspector
}

// NewSubscriber subscribes as Subscribe does. Whoever makes it must read its events until they end.
func NewSubscriber(ctx context.Context, o SubscriberOptions) (*Subscriber, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Overdue == 0 {
		o.Overdue = defaultOverdue
	}
	if o.Unsigned == 0 {
		o.Unsigned = defaultUnsigned
	}
	if o.MaxDevices == 0 {
		o.MaxDevices = defaultDevices
	}
	if o.Overdue < 0 || o.Unsigned < 0 || o.MaxDevices < 0 {
		return nil, &Error{Op: "subscribe", Err: fmt.Errorf("%v, %v, %d devices: less than nothing", o.Overdue, o.Unsigned, o.MaxDevices),
			hint: "leave them out for 30s, 5s and 1000"}
	}
	sub, err := newSubscriber(o.SubscribeOptions)
	if err != nil {
		return nil, err
	}
	sub.notices = true
	l, err := sub.find(ctx)
	if err != nil {
		return nil, err
	}
	s := &Subscriber{events: make(chan Event), in: newInspector(o)}
	go sub.run(ctx, l)
	go s.run(ctx, sub.received)
	return s, nil
}

// Events are closed when the context ends.
func (s *Subscriber) Events() <-chan Event { return s.events }

// Expect lets one answer with this nonce through, until a time; the zero time is for ever. It is to be called before the request is published.
func (s *Subscriber) Expect(nonce string, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.expect(nonce, until)
}

// Stats tells what was seen so far.
func (s *Subscriber) Stats() SubscriberStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.stats
}

func (s *Subscriber) run(ctx context.Context, in <-chan Received) {
	defer close(s.events)
	t := time.NewTicker(looking)
	defer t.Stop()
	for {
		var events []Event
		select {
		case m, ok := <-in:
			if !ok {
				return
			}
			events = s.turn(func() {
				if m.change != nil {
					s.in.connection(*m.change)
				} else {
					s.in.take(m)
				}
			})
		case <-t.C:
			events = s.turn(s.in.tick)
		}
		for _, e := range events {
			s.hand(ctx, e)
		}
	}
}

// hand waits for the reader. What he doesn't take in time isn't for acting on any more.
func (s *Subscriber) hand(ctx context.Context, e Event) {
	var over <-chan time.Time
	if a := e.Verdict; a != nil && a.Act == Allow {
		t := time.NewTimer(a.Verdict.ExpiresAt.UTC().Sub(s.in.o.Now().Round(0)))
		defer t.Stop()
		over = t.C
	}
	for {
		select {
		case s.events <- e:
			return
		case <-ctx.Done():
			return
		case <-over:
			late := *e.Verdict
			late.Act, late.Late = Deny, LateExpired
			e.Verdict, over = &late, nil
		}
	}
}

func (s *Subscriber) turn(do func()) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.at(s.in.o.Now())
	do()
	return s.in.out
}
