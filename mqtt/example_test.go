package mqtt_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/sign"
)

// A door that opens for door-7's answers to its own questions.
func ExampleSubscriber() {
	open := func(ctx context.Context, nonce string) error {
		text, err := os.ReadFile("door-7.json") // what livenessd keys show --json printed on the device
		if err != nil {
			return err
		}
		keys, err := sign.ParsePublic(text)
		if err != nil {
			return err
		}
		s, err := mqtt.NewSubscriber(ctx, mqtt.SubscriberOptions{
			SubscribeOptions: mqtt.SubscribeOptions{URL: "mqtts://broker.example.org", Device: "door-7"},
			Keys:             map[string][]sign.Public{"door-7": keys},
			Expecting:        true,
		})
		if err != nil {
			return err
		}
		if err := s.Expect(nonce, time.Now().Add(20*time.Second)); err != nil {
			return err
		}
		// Here the request for a session with this nonce is published.
		for e := range s.Events() {
			switch {
			case e.Verdict != nil && e.Verdict.Act == mqtt.Allow:
				fmt.Println("open")
			case e.Refused != nil:
				fmt.Println("refused:", e.Refused.Why, e.Refused.Err)
			}
		}
		return nil
	}
	_ = open
}
