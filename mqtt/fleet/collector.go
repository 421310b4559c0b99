package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	collectorTimeout = 10 * time.Second
	collectorPause   = 2 * time.Second // the most between two attempts
	collectorAlive   = 20 * time.Second
)

// collection is what a collector collects.
type collection struct {
	urls    []string
	id      string
	access  access
	filters []string
	clean   bool // the broker keeps nothing for it
	take    func(message)
}

// collector is a subscriber at the centre: one connection after the other with one session, which the broker keeps meanwhile. It
// acknowledges a message after it was taken. It shares no code with the client that it checks.
type collector struct {
	collection
	granted  chan struct{} // closed when the broker has granted all filters for the first time
	once     sync.Once
	mu       sync.Mutex
	sessions int   // connections that worked
	err      error // why there is none
}

// access is what brokers ask of whoever comes.
type access struct {
	username, passwordFile, caFile string
}

func (a access) password() (string, error) {
	if a.passwordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(a.passwordFile)
	return strings.TrimRight(string(b), "\r\n"), err
}

func (a access) dial(ctx context.Context, broker string) (net.Conn, error) {
	u, err := url.Parse(broker)
	if err != nil {
		return nil, fmt.Errorf("broker url: %w", err)
	}
	port := u.Port()
	if u.Scheme != "mqtts" {
		if port == "" {
			port = "1883"
		}
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	}
	if port == "" {
		port = "8883"
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	if a.caFile != "" {
		pem, err := os.ReadFile(a.caFile)
		if err != nil {
			return nil, err
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", a.caFile)
		}
	}
	return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
}

func newCollector(c collection) *collector {
	return &collector{collection: c, granted: make(chan struct{})}
}

// run collects until ctx ends. A broker that can't be reached is tried again, the next of several first.
func (c *collector) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		err := c.serve(ctx, c.urls[n%len(c.urls)])
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rand.Float64() * float64(collectorPause) / float64(len(c.urls)))):
		}
	}
}

// last is how often it was connected, and why it isn't.
func (c *collector) last() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions, c.err
}

// serve works on one connection.
func (c *collector) serve(ctx context.Context, broker string) error {
	password, err := c.access.password()
	if err != nil {
		return err
	}
	dialing, cancel := context.WithTimeout(ctx, collectorTimeout)
	defer cancel()
	conn, err := c.access.dial(dialing, broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	over := make(chan struct{})
	defer close(over)
	var writing sync.Mutex
	write := func(b []byte) error {
		writing.Lock()
		defer writing.Unlock()
		if err := conn.SetWriteDeadline(time.Now().Add(collectorTimeout)); err != nil {
			return err
		}
		_, err := conn.Write(b)
		return err
	}
	wg.Go(func() {
		t := time.NewTicker(collectorAlive / 2)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if write(encode(kindPingreq, 0, nil)) != nil {
					return
				}
			case <-over:
				return
			case <-ctx.Done():
				_ = write(encode(kindDisconnect, 0, nil)) // if it fails, the end of the connection says the same
				_ = conn.Close()
				return
			}
		}
	})
	if err := write(encodeConnect(c.id, c.access.username, password, c.clean, uint16(collectorAlive.Seconds()))); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	var acks []byte
	for {
		if err := conn.SetReadDeadline(time.Now().Add(collectorAlive + collectorTimeout)); err != nil {
			return err
		}
		p, err := readPacket(r)
		if err != nil {
			return err
		}
		switch p.kind {
		case kindConnack:
			if len(p.body) != 2 || p.body[1] != 0 {
				return fmt.Errorf("the broker refused the connection: % x", p.body)
			}
			if err := write(encodeSubscribe(1, c.filters)); err != nil {
				return err
			}
		case kindSuback:
			if len(p.body) != 2+len(c.filters) || slices.ContainsFunc(p.body[2:], func(code byte) bool { return code > 1 }) {
				return fmt.Errorf("the broker refused the subscription to %s: % x", strings.Join(c.filters, ", "), p.body)
			}
			c.mu.Lock()
			c.sessions++
			c.mu.Unlock()
			c.once.Do(func() { close(c.granted) })
		case kindPublish:
			m, err := p.message()
			if err != nil {
				return err
			}
			c.take(m)
			if m.id != 0 {
				acks = append(acks, encodePuback(m.id)...)
			}
		case kindPingresp:
		default:
			return errPacket
		}
		if len(acks) > 0 && (r.Buffered() == 0 || len(acks) > 4<<10) {
			if err := write(acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
}
