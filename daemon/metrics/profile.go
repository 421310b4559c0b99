package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/daemon/web"
)

// ErrExposed is why profiles aren't shown.
var ErrExposed = errors.New("profiles are for this machine alone")

// profiling is how long a profile may take.
const profiling = 5 * time.Minute

// Profiles shows Go's profiles of this process at an address of the loopback, until end: what it does with its time and memory, for whoever
// develops it. It returns when somebody may ask.
func Profiles(address string, log *slog.Logger) (end func(), err error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return nil, &Error{"listen at " + address, ErrExposed, "give an address and a port such as 127.0.0.1:6060, and reach it from elsewhere by ssh -L 6060:127.0.0.1:6060 HOST"}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &Error{"listen at " + address, reason(err), listenHint(err)}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	log.Info("profiles are shown", "listen", l.Addr().String())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := web.NewDoor(l, web.DoorOptions{Most: asking})
		if err := serve(ctx, in, in, guard(config.Metrics{}, nil, mux), heading, profiling, log); err != nil {
			log.Warn("profiles can't be shown any more", "error", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}, nil
}
