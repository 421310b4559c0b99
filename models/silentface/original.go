package silentface

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

const (
	maxOriginal  = 4 << 20 // bytes; upstream's files have 1.9 million each
	downloadTime = 2 * time.Minute
)

// original gets one of upstream's files, and makes sure that it is upstream's.
func (o *Options) original(ctx context.Context, s *source) ([]byte, error) {
	var data []byte
	var from string
	var err error
	if o.From != "" {
		from = filepath.Join(o.From, s.file)
		if data, err = readOriginal(from); err != nil {
			e := &Error{err: fmt.Errorf("read upstream's weights: %w", err)}
			if errors.Is(err, fs.ErrNotExist) {
				e.hint = fmt.Sprintf("put %s there; it is at %s", s.file, upstream)
			}
			return nil, e
		}
	} else {
		if from, err = url.JoinPath(o.upstream(), s.file); err == nil {
			o.Log.Info("downloading", "url", from)
			data, err = o.download(ctx, from)
		}
		if err != nil {
			return nil, &Error{fmt.Errorf("download upstream's weights: %w", err), "see whether there is a way to the network from here; " +
				"or fetch the .pth files from " + upstream + " elsewhere, and name the folder where they are with --from"}
		}
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != s.sha256 {
		return nil, &Error{fmt.Errorf("%s isn't upstream's: its SHA-256 is %x, need %s", from, sum, s.sha256),
			"fetch it again: " + upstream + "/" + s.file}
	}
	return data, nil
}

func (o *Options) upstream() string {
	if o.Upstream != "" {
		return o.Upstream
	}
	return upstream
}

func readOriginal(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", path)
	}
	return limited(f)
}

func (o *Options) download(ctx context.Context, from string) (data []byte, err error) {
	client := o.Client
	if client == nil {
		client = &http.Client{Timeout: downloadTime}
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	r, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Body.Close()) }()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", from, r.Status)
	}
	if data, err = limited(r.Body); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return data, nil
}

func limited(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxOriginal+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxOriginal {
		return nil, fmt.Errorf("more than %d bytes", maxOriginal)
	}
	return data, nil
}
