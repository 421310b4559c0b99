package journal

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/livenessd/livenessd/mqtt"
)

// both measures without a device key and with one.
func both(b *testing.B, measure func(b *testing.B, signer mqtt.Signer)) {
	b.Run("plain", func(b *testing.B) { measure(b, nil) })
	key, err := deviceKey()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("signed", func(b *testing.B) { measure(b, key) })
}

// delivering is a client at a mosquitto, and what the broker acknowledged.
func delivering(b *testing.B, signer mqtt.Signer) (c *mqtt.Client, acknowledged <-chan uint64) {
	b.Helper()
	dir := b.TempDir()
	address := configureMosquitto(b, dir)
	m := startMosquitto(b, dir, address)
	done := make(chan uint64, 1<<16)
	c, err := mqtt.New(mqtt.Options{URL: "mqtt://" + address, Device: device, Signer: signer, Journal: New(filepath.Join(dir, File), slog.New(slog.DiscardHandler)),
		Delivered: func(v mqtt.Verdict) { done <- v.Seq }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := errors.Join(c.Close(ctx), m.Process.Kill())
		_ = m.Wait() // says that it was killed
		if err != nil {
			b.Error(err)
		}
	})
	eventually(b, "the connection", func() bool { return c.Status().Connected })
	return c, done
}

// BenchmarkAppendToAcknowledged is how long one verdict takes: on the disk, to the broker, and its acknowledgement.
func BenchmarkAppendToAcknowledged(b *testing.B) { both(b, appendToAcknowledged) }

func appendToAcknowledged(b *testing.B, signer mqtt.Signer) {
	c, done := delivering(b, signer)
	var took []time.Duration
	seq := uint64(0)
	for b.Loop() {
		seq++
		v := verdictOf("boot-1", seq)
		began := time.Now()
		c.PublishVerdict(v)
		<-done
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	ms := func(share float64) float64 {
		return took[min(len(took)-1, int(share*float64(len(took))))].Seconds() * 1000
	}
	b.ReportMetric(ms(0.5), "median-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
}

// BenchmarkSustained is how many verdicts a second are written, published and acknowledged when 500 wait all the time.
func BenchmarkSustained(b *testing.B) { both(b, sustained) }

func sustained(b *testing.B, signer mqtt.Signer) {
	c, done := delivering(b, signer)
	const waiting = 500
	began, seq := time.Now(), uint64(0)
	for b.Loop() {
		seq++
		c.PublishVerdict(verdictOf("boot-1", seq))
		if seq > waiting {
			<-done
		}
	}
	for range min(seq, waiting) {
		<-done
	}
	b.ReportMetric(float64(seq)/time.Since(began).Seconds(), "verdicts/s")
}
