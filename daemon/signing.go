package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/livenessd/livenessd/daemon/config"
	"github.com/livenessd/livenessd/mqtt"
	"github.com/livenessd/livenessd/mqtt/sign"
)

// keyName is the name of the device's key in the state folder, and among systemd's credentials.
const keyName = "device.key"

// KeyFile is where the device's key lies, and whether it must be there.
func KeyFile(c config.Config) (path string, must bool) {
	if c.Signing.KeyFile != "" {
		return c.Signing.KeyFile, true
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); filepath.IsAbs(dir) {
		if path := filepath.Join(dir, keyName); there(path) {
			return path, true
		}
	}
	return filepath.Join(c.State, keyName), false
}

// there tells whether something may be there, even if it can't be looked at.
func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// CheckKey tells what run would say of the device's key.
func CheckKey(c config.Config) error {
	path, must := KeyFile(c)
	if !must && !there(path) {
		return nil
	}
	if _, err := sign.Load(path); err != nil {
		return &fault{ErrConfig, err, Hint(err)}
	}
	return nil
}

// openSigner gives what signs verdicts, twice; nil where there is no key. A key that can't be used is an error: nobody would notice that
// verdicts aren't signed any more.
func openSigner(o Options) (mqtt.Signer, *sign.File, error) {
	path, must := KeyFile(o.Config)
	if o.Stateless || !must && !there(path) {
		return nil, nil, nil
	}
	f, err := sign.Open(path, o.Log)
	if err != nil {
		return nil, nil, &fault{ErrConfig, err, Hint(err)}
	}
	o.Log.Info("verdicts are signed", "key", f.Public()[0].ID, "file", path)
	return f, f, nil
}
