package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/sign"
)

type watchFlags struct {
	devices, verify, nonces []string
	url                     string
}

func (a *app) watch() *cobra.Command {
	c := &cobra.Command{
		Use:   "watch",
		Short: "Show what devices publish: verdicts, states, gaps, and what is to be refused",
		Long: "Subscribes to the broker that the configuration names, and prints a line for each verdict and each change, until Ctrl-C. A broker\n" +
			"that goes away is waited for.\n\n" +
			"With --verify only what these keys signed counts; what isn't signed, or by another key, or was altered is shown as REFUSED.\n" +
			"With --nonce answers of sessions count only with one of these nonces, each once.\n\n" +
			"  livenessd keys show --json > door-7.json     # on the device\n" +
			"  livenessd watch --verify door-7.json",
		Args: usageArgs(cobra.NoArgs),
	}
	var f watchFlags
	c.Flags().StringSliceVar(&f.devices, "device", nil, "the device to watch, or several (default: those whose keys --verify names, else all)")
	c.Flags().StringArrayVar(&f.verify, "verify", nil, "public key of a device: [DEVICE=]KEY, where KEY is a file that keys show --json wrote, or PEM, JWK or base64; may be repeated")
	c.Flags().StringArrayVar(&f.nonces, "nonce", nil, "nonce of an answer that is expected; may be repeated")
	c.Flags().StringVar(&f.url, "url", "", "broker to use instead of the configuration's: mqtt://HOST or mqtts://HOST")
	a.jsonFlag(c, "print one JSON object for each event")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := a.load()
		if err != nil {
			return err
		}
		return a.runWatch(c.Context(), cfg, f)
	}
	return c
}

func (a *app) runWatch(ctx context.Context, cfg config.Config, f watchFlags) error {
	keys, err := f.keys()
	if err != nil {
		return err
	}
	if len(f.devices) == 0 { // others than those whose keys are given could only be refused
		f.devices = slices.Sorted(maps.Keys(keys))
	}
	for _, d := range f.devices {
		if err := mqtt.CheckName("device", d); err != nil {
			return fail(ExitUsage, err)
		}
	}
	m := cfg.MQTT
	o := mqtt.SubscriberOptions{Keys: keys, Expecting: len(f.nonces) > 0, SubscribeOptions: mqtt.SubscribeOptions{
		URL: m.URLs[0], Others: m.URLs[1:], Prefix: m.Prefix, Username: m.Username, PasswordFile: m.PasswordFile,
		CAFile: m.CAFile, CertFile: m.CertFile, KeyFile: m.KeyFile}}
	if len(f.devices) == 1 {
		o.Device = f.devices[0]
	}
	if f.url != "" {
		if err := (mqtt.Options{URL: f.url, Device: "any"}).Check(); err != nil {
			return fail(ExitUsage, err)
		}
		o.URL, o.Others = f.url, nil
		if scheme, _, _ := strings.Cut(strings.ToLower(f.url), ":"); scheme == "mqtt" || scheme == "tcp" {
			o.CAFile, o.CertFile, o.KeyFile = "", "", ""
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := mqtt.NewSubscriber(ctx, o)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fail(ExitUnavailable, err)
	}
	defer func() {
		cancel()
		for range s.Events() { // until it is gone
		}
	}()
	for _, n := range f.nonces {
		if err := s.Expect(n, time.Time{}); err != nil {
			return fail(ExitUsage, err)
		}
	}
	v := &view{app: a, keys: keys}
	for e := range s.Events() {
		if ctx.Err() != nil {
			return nil
		}
		if e.Device != "" && len(f.devices) > 0 && !slices.Contains(f.devices, e.Device) {
			continue
		}
		if err := v.show(e); err != nil {
			return err
		}
	}
	return nil
}

// keys reads what --verify names, nil if it names nothing.
func (f watchFlags) keys() (map[string][]sign.Public, error) {
	if len(f.verify) == 0 {
		return nil, nil
	}
	all := map[string][]sign.Public{}
	for _, given := range f.verify {
		device, list, err := readVerify(given)
		if err != nil {
			return nil, err
		}
		if device == "" && len(f.devices) == 1 {
			device = f.devices[0]
		}
		if device == "" {
			return nil, fail(ExitUsage, fmt.Errorf("--verify %.60s: whose key is it? Write DEVICE=KEY, or name the device with --device", given))
		}
		all[device] = append(all[device], list...)
	}
	return all, nil
}

// maxKeyFile bounds a file with public keys.
const maxKeyFile = 64 << 10

// readVerify reads [DEVICE=]KEY. A file may say itself whose keys are in it.
func readVerify(given string) (device string, keys []sign.Public, err error) {
	key := given
	if _, err := os.Stat(given); err != nil && !sign.IsPublic(given) {
		if d, rest, named := strings.Cut(given, "="); named && mqtt.CheckName("device", d) == nil {
			device, key = d, rest
		}
	}
	text := []byte(key)
	if !sign.IsPublic(key) {
		if text, err = readKeyFile(key); err != nil {
			return "", nil, fail(ExitUsage, fmt.Errorf("watch: read a key to verify with: %w", err))
		}
	}
	if keys, err = sign.ParsePublic(text); err != nil {
		return "", nil, fail(ExitUsage, fmt.Errorf("watch: --verify %.60s: %w", given, err))
	}
	var says struct {
		Device string `json:"device"`
	}
	_ = json.Unmarshal(text, &says) // PEM says nothing
	if device != "" && says.Device != "" && says.Device != device {
		return "", nil, fail(ExitUsage, fmt.Errorf("watch: --verify %.60s: the key is of %s", given, says.Device))
	}
	if device == "" {
		device = says.Device
	}
	return device, keys, nil
}

func readKeyFile(path string) (_ []byte, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxKeyFile+1)) // more is refused by who parses it
}

// view shows events.
type view struct {
	*app
	keys map[string][]sign.Public
}

// seen is an event as JSON has it.
type seen struct {
	Event  string    `json:"event"`
	At     mqtt.Time `json:"at"` // when it came, by the clock of this machine
	Device string    `json:"device,omitempty"`
	Camera string    `json:"camera,omitempty"`

	Verdict *mqtt.Verdict `json:"verdict,omitempty"` // of verdict, and of refused where it can be read
	Act     mqtt.Action   `json:"act,omitempty"`     // what may be done now
	Late    mqtt.Lateness `json:"late,omitempty"`
	Older   bool          `json:"older,omitempty"`
	Key     string        `json:"key,omitempty"` // that signed it

	Boot   string          `json:"boot,omitempty"` // of gap and missing
	Ranges []mqtt.SeqRange `json:"ranges,omitempty"`
	Away   bool            `json:"away,omitempty"`
	Gap    *mqtt.Gap       `json:"gap,omitempty"`

	Topic  string      `json:"topic,omitempty"` // of refused
	Reason mqtt.Reason `json:"reason,omitempty"`

	Availability string            `json:"availability,omitempty"`
	State        *mqtt.CameraState `json:"state,omitempty"`
	Info         *mqtt.Info        `json:"info,omitempty"`
	Hint         *mqtt.Hint        `json:"session_hint,omitempty"`
	Retained     bool              `json:"retained,omitempty"`

	Connected *bool  `json:"connected,omitempty"`
	Error     string `json:"error,omitempty"` // of refused and connection
	Advice    string `json:"hint,omitempty"`
}

func (v *view) show(e mqtt.Event) error {
	if !v.json {
		device := e.Device
		if device == "" {
			device = "broker"
		}
		_, err := fmt.Fprintln(v.Stdout, visible(fmt.Sprintf("%s  %-12s %-10s %s", e.At.Local().Format("15:04:05.000"), device, e.Camera, v.line(e))))
		return err
	}
	w := seen{At: mqtt.Time(e.At), Device: e.Device, Camera: e.Camera, Availability: e.Availability, State: e.State, Info: e.Info, Hint: e.Hint,
		Retained: e.Retained}
	switch {
	case e.Verdict != nil:
		a := e.Verdict
		w.Event, w.Verdict, w.Act, w.Late, w.Older, w.Key = "verdict", &a.Verdict, a.Act, a.Late, a.Older, a.Key
	case e.Gap != nil:
		g := e.Gap
		w.Event, w.Boot, w.Ranges, w.Away, w.Gap = "missing", g.Boot, g.Ranges, g.Away, g.Announced
		if g.Announced != nil {
			w.Event = "gap"
		}
	case e.Refused != nil:
		r := e.Refused
		w.Event, w.Topic, w.Reason, w.Verdict, w.Error = "refused", r.Topic, r.Why, r.Verdict, r.Err.Error()
	case e.Connection != nil:
		w.Event, w.Connected = "connection", &e.Connection.Connected
		if err := e.Connection.Err; err != nil {
			w.Error, w.Advice = err.Error(), daemon.Hint(err)
		}
	case e.State != nil:
		w.Event = "state"
	case e.Info != nil:
		w.Event = "info"
	case e.Hint != nil:
		w.Event = "hint"
	default:
		w.Event = "availability"
	}
	return v.printJSON(w)
}

// line is an event for people.
func (v *view) line(e mqtt.Event) string {
	switch {
	case e.Verdict != nil:
		return v.verdict(e.Verdict)
	case e.Gap != nil:
		g := e.Gap
		switch {
		case g.Announced != nil:
			return fmt.Sprintf("GAP  %s: the device gave up %d verdicts, %d of them spoofs (%s)", ranges(g.Ranges), g.Announced.Verdicts, g.Announced.Spoofs, g.Announced.Reason)
		case g.Away:
			return fmt.Sprintf("MISSING  %s: they may have come while there was no connection", ranges(g.Ranges))
		}
		return fmt.Sprintf("MISSING  %s: the device says nothing of it", ranges(g.Ranges))
	case e.Refused != nil:
		r := e.Refused
		says := ""
		if r.Verdict != nil {
			says = "; it says " + strings.ToUpper(string(r.Verdict.Verdict))
		}
		return fmt.Sprintf("REFUSED  %s: %v (%s%s)", r.Why, r.Err, r.Topic, says)
	case e.Connection != nil && e.Connection.Connected:
		return "connected"
	case e.Connection != nil:
		line := "no connection; it is tried again: " + strings.ReplaceAll(e.Connection.Err.Error(), "\n", "; ")
		if h := daemon.Hint(e.Connection.Err); h != "" {
			line += " → " + h
		}
		return line
	case e.State != nil:
		return stateLine(e.State)
	case e.Info != nil:
		return v.info(e.Device, e.Info)
	case e.Hint != nil:
		return fmt.Sprintf("hint for session %s: %s", e.Hint.Session, e.Hint.Hint)
	}
	return e.Availability
}

func (v *view) verdict(a *mqtt.Accepted) string {
	line := outcome(a.Verdict)
	if s := a.Verdict.Session; s != nil {
		line += fmt.Sprintf("  session %s of %s", s.ID, s.Application)
		if s.Nonce != "" {
			line += ", nonce " + s.Nonce
		}
	}
	line += fmt.Sprintf("  → %s", a.Verdict.Action)
	switch {
	case a.Late != "":
		line += fmt.Sprintf(", but late (%s): decided %s", a.Late, a.Verdict.DecidedAt.Local().Format("2006-01-02 15:04:05"))
	case a.Older:
		line += ", but older than one that came before"
	case a.Act != a.Verdict.Action:
		line += ", but not the answer that is expected"
	}
	if a.Key != "" {
		line += "  signed " + short(a.Key)
	}
	return line
}

// outcome is what a verdict says.
func outcome(v mqtt.Verdict) string {
	line := fmt.Sprintf("%-9s", strings.ToUpper(string(v.Verdict)))
	if v.Code != nil {
		line += fmt.Sprintf("  %s", *v.Code)
		if v.Attack != "" {
			line += " (" + v.Attack + ")"
		}
	}
	if v.Liveness != "" {
		line += "  liveness " + v.Liveness
	}
	if v.Score != nil {
		line += fmt.Sprintf("  score %.3f of %d frames", *v.Score, v.Frames)
	}
	if v.Face != nil {
		line += fmt.Sprintf("  face %d×%d at %d,%d", v.Face.Width, v.Face.Height, v.Face.X, v.Face.Y)
	}
	return line
}

func stateLine(s *mqtt.CameraState) string {
	line := s.State
	if s.Width > 0 {
		line += fmt.Sprintf("  %d×%d", s.Width, s.Height)
	}
	if s.Format != "" {
		line += " " + s.Format
	}
	if s.FPS > 0 {
		line += fmt.Sprintf(" at %.3g fps", s.FPS)
	}
	if h := s.Health; h != nil && (len(h.Alarms) > 0 || h.State == camera.HealthEscalated) {
		line += "  " + h.State
		if len(h.Alarms) > 0 {
			line += ": " + strings.Join(h.Alarms, ", ") + " → " + h.Hint
		}
	}
	if s.Code != "" {
		line += "  " + string(s.Code)
	}
	if s.Error != "" {
		line += "  " + s.Error
	}
	if s.Hint != "" {
		line += " → " + s.Hint
	}
	return line
}

// info says what a device is, and whether its key is one to verify with. That it says so proves nothing.
func (v *view) info(device string, i *mqtt.Info) string {
	line := fmt.Sprintf("livenessd %s, cameras %s", i.Version, strings.Join(i.Cameras, ", "))
	if i.Journal != nil && i.Journal.State != mqtt.JournalDisk {
		line += fmt.Sprintf(", verdicts wait in %s alone: %s", i.Journal.State, i.Journal.Error)
	}
	if len(i.Keys) == 0 {
		return line + ", without a key"
	}
	line += ", key " + i.Keys[0].Kid
	if v.keys != nil && !slices.ContainsFunc(v.keys[device], func(k sign.Public) bool { return k.ID == i.Keys[0].Kid }) {
		line += ", which is none of those to verify with"
	}
	return line
}

func ranges(list []mqtt.SeqRange) string {
	var all []string
	for _, r := range list {
		if r.First == r.Last {
			all = append(all, fmt.Sprint(r.First))
		} else {
			all = append(all, fmt.Sprintf("%d–%d", r.First, r.Last))
		}
	}
	if len(all) == 0 {
		return "nobody knows which"
	}
	return strings.Join(all, ", ")
}

// short is enough of a key's id to tell it from others of the same device.
func short(id string) string { return id[:min(len(id), 8)] }

// visible takes out what a terminal could take for a command: others write what is shown.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
