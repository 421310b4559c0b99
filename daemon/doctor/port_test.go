package doctor

import (
	"net/netip"
	"strings"
	"testing"
)

// As /proc/net/tcp and tcp6 have them: 127.0.0.1:8471, 0.0.0.0:9100, and a connection from the first; [::1]:8471 and [::]:9200.
const (
	head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	tcp  = head + "   0: 0100007F:2117 00000000:0000 0A 00000000:00000000 00:00000000 00000000   993        0 5001 1 0000000000000000 100 0 0 10 0\n" +
		"   1: 00000000:238C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5002 1 0000000000000000 100 0 0 10 0\n" +
		"   2: 0100007F:2117 0100007F:A000 01 00000000:00000000 00:00000000 00000000   993        0 5003 1 0000000000000000 100 0 0 10 0\n"
	tcp6 = head + "   0: 00000000000000000000000001000000:2117 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   993        0 6001 1 0000000000000000 100 0 0 10 0\n" +
		"   1: 00000000000000000000000000000000:23F0 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6002 1 0000000000000000 100 0 0 10 0\n"
)

func TestThePortForFigures(t *testing.T) {
	for _, test := range []struct{ name, listen, status, want string }{
		{"off", "off", "", "ok       metrics: metrics.listen is off\n"},
		{"free", "127.0.0.1:8472", "", "ok       metrics: 127.0.0.1:8472 is free\n"},
		{"the daemon has it", "127.0.0.1:8471", `{"pid":77}`, "ok       metrics: livenessd listens at 127.0.0.1:8471\n"},
		{"the daemon doesn't listen", "127.0.0.1:8472", `{"pid":77}`, "warning  metrics: livenessd runs (process 77), but nothing listens at 127.0.0.1:8472\n" +
			"         → `sudo systemctl reload livenessd` where the configuration is newer; else see its log for \"figures and health can't be shown\"\n"},
		{"another has it at all addresses", "127.0.0.1:9100", `{"pid":77}`, "failure  metrics: 127.0.0.1:9100 is taken by node_exporter (process 88)\n" +
			"         → choose another port in metrics.listen, or stop node_exporter\n"},
		{"another has it at all addresses of IPv6, too", "127.0.0.1:9200", "", "failure  metrics: 127.0.0.1:9200 is taken\n" +
			"         → choose another port in metrics.listen; `sudo livenessd doctor` says who has it\n"},
		{"nobody may know who has it", "127.0.0.1:9200", `{"pid":77}`, "skipped  metrics: something listens at 127.0.0.1:9200; only root sees whether that is livenessd: run `sudo livenessd doctor`\n"},
		{"a port of root's", "127.0.0.1:80", "", "failure  metrics: port 80 is root's alone, as are all below 1024\n         → choose another port in metrics.listen\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{"proc/net/tcp": tcp, "proc/net/tcp6": tcp6, "proc/77/comm": "livenessd", "proc/77/fd/3": "->socket:[5001]",
				"proc/88/comm": "node_exporter", "proc/88/fd/3": "->socket:[5002]"}
			if test.status != "" {
				files["run/livenessd/status.json"] = test.status
			}
			m := aMachine(t, files)
			p := m.patient(t, "metrics: {listen: \""+test.listen+"\"}\nstate: ROOT/state\n")
			if got := m.look(t, "metrics", p.ports()[0]); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

func TestThePortForTheConsole(t *testing.T) {
	m := aMachine(t, map[string]string{"proc/net/tcp": tcp, "proc/88/comm": "node_exporter", "proc/88/fd/3": "->socket:[5002]"})
	for yaml, want := range map[string]string{
		"state: ROOT/state\n":                         "ok       console: 127.0.0.1:8470 is free\n",
		"console: {listen: off}\nstate: ROOT/state\n": "ok       console: console.listen is off\n",
		"console: {listen: \"127.0.0.1:9100\"}\nstate: ROOT/state\n": "failure  console: 127.0.0.1:9100 is taken by node_exporter (process 88)\n" +
			"         → choose another port in console.listen, or stop node_exporter\n",
	} {
		if got := m.look(t, "console", m.patient(t, yaml).ports()[1]); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

func TestSocketsThatListen(t *testing.T) {
	h := aMachine(t, map[string]string{"proc/net/tcp": tcp, "proc/net/tcp6": tcp6 + "garbage\n\x00"}).Host
	for at, want := range map[string]string{"127.0.0.1:8471": "5001", "[::1]:8471": "6001", "0.0.0.0:8471": "5001 6001", "192.0.2.1:9100": "5002", "192.0.2.1:8471": "", "[::1]:9200": "6002"} {
		if got := strings.Join(h.listening(netip.MustParseAddrPort(at)), " "); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
}

func FuzzListener(f *testing.F) {
	for line := range strings.Lines(tcp + tcp6) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		at, inode, ok := listener(line)
		if ok && (!at.IsValid() || inode == "") {
			t.Errorf("%v %q", at, inode)
		}
	})
}
