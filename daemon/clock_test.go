package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoKnowsOfTheClock(t *testing.T) {
	type answer struct {
		is  bool
		err error
	}
	for name, test := range map[string]struct {
		is, known bool
		answers   []answer // of systemd, the last for ever
		want      []bool   // after each
	}{
		"the kernel does":                     {is: true, known: true, answers: []answer{{is: false}}, want: []bool{true, true}},
		"the kernel says no":                  {known: true, answers: []answer{{is: true}}, want: []bool{false, false}},
		"systemd does, where nobody else may": {is: true, answers: []answer{{is: false}, {is: true}}, want: []bool{false, true, true}},
		"systemd can't be asked any more":     {answers: []answer{{is: true}, {is: true, err: errors.New("no bus")}}, want: []bool{true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				r := &reference{kernel: func() (bool, bool) { return test.is, test.known }, ask: func(context.Context) (bool, error) {
					a := test.answers[min(n, len(test.answers)-1)]
					n++
					return a.is, a.err
				}}
				if !test.known && r.synced() {
					t.Error("it is, before anybody was asked")
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.run(ctx)
				}()
				for i, want := range test.want {
					synctest.Wait()
					if got := r.synced(); got != want {
						t.Errorf("after %d answers: %v", i+1, got)
					}
					time.Sleep(askEach)
				}
				stop()
				<-done
			})
		})
	}
}

func TestNobodyKnowsOfTheClock(t *testing.T) {
	if new(identity).clockSynced() {
		t.Error("nobody was asked, and it follows a reference")
	}
}
