package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/camera/frame"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/demo"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/broker"
)

func (a *app) demo() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job in one process: camera or clip, models, broker, verdicts",
		Long: "Starts an MQTT broker on 127.0.0.1, the daemon, and a subscriber that prints each verdict as it arrives. With a camera it\n" +
			"uses the camera; without one it plays a built-in clip of synthetic (computer-drawn) people over and over, some of them\n" +
			"living, some shown on a simulated screen or print. Ctrl-C ends it.",
		Args: usageArgs(cobra.NoArgs),
	}
	clip := c.Flags().Bool("clip", false, "play the built-in clip even if there is a camera")
	once := c.Flags().Bool("once", false, "play the clip once and end")
	a.jsonFlag(c, "print one JSON object for each message: topic and payload")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := a.load()
		if err != nil {
			return err
		}
		return a.runDemo(c.Context(), cfg, *clip || *once, *once)
	}
	return c
}

func (a *app) runDemo(ctx context.Context, cfg config.Config, clip, once bool) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := broker.Start(broker.Options{})
	if err != nil {
		return fail(ExitUnavailable, err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	// The configuration's models and thresholds count; its broker and cameras stay out of a demonstration.
	cfg.MQTT = config.Default().MQTT
	cfg.MQTT.URLs = []string{b.URL()}
	o := daemon.Options{Version: a.Version, Log: log, Stateless: true}
	source, err := a.demoSource(&cfg, &o, clip, once, cancel)
	if err != nil {
		return err
	}
	o.Config, o.Opener = cfg, a.opener(log)
	if err := a.tryModels(ctx, cfg); err != nil {
		return err
	}
	received, err := mqtt.Subscribe(ctx, mqtt.SubscribeOptions{URL: b.URL(), Prefix: cfg.MQTT.Prefix, Device: cfg.Device, Log: log})
	if err != nil {
		return fail(ExitUnavailable, err)
	}
	defer func(all <-chan mqtt.Received) {
		cancel()
		for range all { // until the subscriber is gone: it logs to what its caller reads
		}
	}(received)
	fmt.Fprintf(a.Stderr, "livenessd demo: %s\nMQTT broker at %s; topics %s/%s/#\nCtrl-C ends it.\n\n", source, b.URL(), cfg.MQTT.Prefix, cfg.Device)
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, o) }()
	for {
		select {
		case m, ok := <-received:
			if !ok {
				received = nil
				continue
			}
			if err := a.printMessage(m); err != nil {
				cancel()
				return errors.Join(err, <-done)
			}
		case err := <-done:
			// What the daemon published last is still on its way through the broker.
			for received != nil {
				select {
				case m, ok := <-received:
					if !ok {
						received = nil
						continue
					}
					err = errors.Join(err, a.printMessage(m))
				case <-time.After(100 * time.Millisecond):
					received = nil
				}
			}
			return err
		}
	}
}

// demoSource chooses between a camera and the clip, and says what it chose.
func (a *app) demoSource(cfg *config.Config, o *daemon.Options, clip, once bool, end func()) (string, error) {
	if !clip {
		list, err := camera.List()
		if err != nil {
			fmt.Fprintf(a.Stderr, "livenessd demo: cameras can't be listed (%v); playing the clip\n", err)
		}
		for _, i := range list {
			if i.Usable && i.Virtual == "" {
				return fmt.Sprintf("camera %s (%s)", i.Card, i.Path), nil // the default configuration takes it
			}
		}
	}
	truth, err := demo.ReadTruth()
	if err != nil {
		return "", fail(ExitInternal, err)
	}
	clipCamera := config.DefaultCamera()
	clipCamera.Path = "replay:demo" // which may come again and again
	cfg.Cameras = map[string]config.Camera{"demo": clipCamera}
	o.OpenCamera = func(name string, _ config.Camera) (daemon.Camera, error) {
		cam, err := camera.OpenClip(camera.Options{Name: name, FPS: truth.FPS, Loop: !once, Log: o.Log}, demo.Clip)
		if err != nil {
			return nil, err
		}
		return endingCamera{cam, end}, nil
	}
	return "no camera, so a built-in clip of synthetic people: computer-drawn heads, some live, some on a simulated screen or print.\n" +
		"It shows the machinery at work; how good the models are on real people stands in the README.", nil
}

// endingCamera ends the demo when the clip was played.
type endingCamera struct {
	*camera.Camera
	end func()
}

func (c endingCamera) Next(ctx context.Context) (*frame.Frame, error) {
	f, err := c.Camera.Next(ctx)
	if err != nil && ctx.Err() == nil {
		// Verdicts that the last frames caused are published first: the pipeline asks again after it handled the end.
		time.AfterFunc(300*time.Millisecond, c.end)
	}
	return f, err
}

func (a *app) printMessage(m mqtt.Received) error {
	if a.json {
		payload := json.RawMessage(m.Payload)
		if !json.Valid(m.Payload) { // availability is plain text
			payload, _ = json.Marshal(string(m.Payload))
		}
		return a.printJSON(struct {
			Topic   string          `json:"topic"`
			Payload json.RawMessage `json:"payload"`
		}{m.Topic, payload})
	}
	if !strings.HasSuffix(m.Topic, "/verdict") {
		return nil
	}
	v, err := mqtt.ParseVerdict(m.Payload)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s  camera %s  %s  → %s\n", v.DecidedAt.Local().Format("15:04:05.000"), v.Camera, outcome(v), v.Action)
	return err
}
