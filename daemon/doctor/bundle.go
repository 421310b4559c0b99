package doctor

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/tflite"
)

// lines is how much of the journal goes into a bundle.
const lines = "1000"

// Bundle writes an archive (tar.gz) for whoever helps from afar: what was found, versions, the configuration in effect, the cameras, what
// the daemon says of itself, here and at the broker, and the journal's last lines, all of it text, without secrets.
func (p *Patient) Bundle(ctx context.Context, w io.Writer, r Report) error {
	secrets := p.secrets()
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	add := func(name, content string) error {
		content = secrets.Redact(content)
		err := t.WriteHeader(&tar.Header{Name: "livenessd-doctor/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: r.At, Format: tar.FormatPAX})
		if err != nil {
			return err
		}
		_, err = io.WriteString(t, content)
		return err
	}
	var said strings.Builder
	for _, f := range r.Findings {
		said.WriteString(f.String() + "\n")
	}
	var errs []error
	for _, f := range []struct{ name, content string }{
		{"doctor.txt", said.String()},
		{"doctor.json", encode(r)},
		{"versions.txt", p.versions()},
		{"configuration.yaml", p.effective()},
		{"cameras.json", p.cameraList()},
		{"documents.json", p.documents(ctx)},
		{"status.json", text(p.Host.Runtime, StatusFile)},
		{"unit.txt", p.output(ctx, "systemctl", "cat", "--no-pager", p.Unit)},
		{"journal.txt", p.output(ctx, "journalctl", "--no-pager", "--quiet", "--output=short-iso", "--lines="+lines, "--unit="+p.Unit)},
		{"kernel.txt", kernel(p.output(ctx, "journalctl", "--no-pager", "--quiet", "--dmesg", "--boot", "--output=short-iso", "--lines="+lines))},
	} {
		errs = append(errs, add(f.name, f.content))
	}
	if err := errors.Join(append(errs, t.Close(), z.Close())...); err != nil {
		return fmt.Errorf("doctor: write the bundle: %w", err)
	}
	return nil
}

// WriteBundle writes it into a new file, whole or not at all, that only its owner can read.
func (p *Patient) WriteBundle(ctx context.Context, path string, r Report) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".doctor-*.tar.gz")
	if err != nil {
		return fmt.Errorf("doctor: write the bundle: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(p.Bundle(ctx, f, r), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("doctor: write the bundle: %w", err)
	}
	return nil
}

func encode(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (p *Patient) versions() string {
	var b strings.Builder
	fmt.Fprintf(&b, "livenessd %s, %s, %s/%s\n", p.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if rt, err := tflite.Load(tflite.LoadOptions{Path: p.Config.Models.Runtime}); err != nil {
		fmt.Fprintf(&b, "TensorFlow Lite: %v\n", err)
	} else {
		fmt.Fprintf(&b, "TensorFlow Lite %s (%s)\n", rt.Version(), rt.Path())
	}
	fmt.Fprintf(&b, "\n%s\n\n%s\n", text(p.Host.Proc, "version"), text(p.Host.Etc, "os-release"))
	for line := range strings.Lines(text(p.Host.Proc, "cpuinfo")) {
		if key, _, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" || strings.TrimSpace(key) == "Model" {
			b.WriteString(line)
			break
		}
	}
	if memory, _, _ := strings.Cut(text(p.Host.Proc, "meminfo"), "\n"); memory != "" {
		b.WriteString(memory + "\n")
	}
	fmt.Fprintf(&b, "%s\n", text(p.Host.Sys, "firmware/devicetree/base/model"))
	return b.String()
}

// effective is the configuration in effect; of one that can't be used only what is wrong with it, as a secret may stand in it.
func (p *Patient) effective() string {
	if p.Problem != nil {
		return "# " + strings.ReplaceAll(p.Problem.Error(), "\n", "\n# ") + "\n"
	}
	return string(p.Config.YAML())
}

func (p *Patient) cameraList() string {
	list, err := p.List()
	if err != nil {
		return encode(map[string]string{"error": err.Error()})
	}
	if list == nil {
		list = []camera.Info{}
	}
	return encode(list)
}

// listening is how long documents that are retained may take to come.
const listening = 3 * time.Second

// mostDocuments is more than a device has.
const mostDocuments = 200

// documents is what is retained at the broker of this device: info, states, availability, and no verdicts.
func (p *Patient) documents(ctx context.Context) string {
	if p.Problem != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, listening)
	defer cancel()
	o := p.broker()
	received, err := p.Subscribe(ctx, mqtt.SubscribeOptions{URL: o.URL, Prefix: o.Prefix, Device: o.Device, Username: o.Username, PasswordFile: o.PasswordFile,
		CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Timeout: listening})
	if err != nil {
		return encode(map[string]string{"error": err.Error()})
	}
	all := map[string]json.RawMessage{}
	for m := range received {
		if !m.Retained || len(all) == mostDocuments {
			continue
		}
		all[m.Topic] = m.Payload
		if !json.Valid(m.Payload) {
			all[m.Topic] = json.RawMessage(strconv.Quote(string(m.Payload)))
		}
	}
	return encode(all)
}

func (p *Patient) output(ctx context.Context, name string, args ...string) string {
	out, err := p.Host.Run(ctx, name, args...)
	if err != nil {
		return strings.TrimSpace(string(out)+"\n"+err.Error()) + "\n"
	}
	return string(out)
}

// kernel keeps what the kernel said of cameras, buses, disks, heat and memory.
func kernel(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		low := strings.ToLower(line)
		for _, word := range []string{"usb", "uvc", "video", "v4l2", "mmc", "sda", "nvme", "ext4", "i/o error", "thermal", "throttl", "voltage", "oom", "out of memory", "livenessd"} {
			if strings.Contains(low, word) {
				b.WriteString(line)
				break
			}
		}
	}
	return b.String()
}
