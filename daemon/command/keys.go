package command

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/mqtt/sign"
)

func (a *app) keys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "The device's key, with which verdicts are signed: make, show or replace it",
		Long: "With a key each verdict is published signed as well, so that subscribers needn't trust the broker. The key is Ed25519, in the\n" +
			"file that signing.key_file names, or device.key in the state folder. Its public half belongs with whoever verifies:\n" +
			"livenessd watch --verify, or your own program. docs/signing.md has the format and the procedures.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.keysGenerate(), a.keysShow(), a.keysRotate())
	return c
}

func (a *app) keysGenerate() *cobra.Command {
	c := &cobra.Command{
		Use:   "generate",
		Short: "Make the device's key; one that is there is left alone",
		Long: "Makes the key's file, which its owner alone can read, and beside it one with the public key. Restart livenessd to sign with it.\n" +
			"Run it as the user that livenessd runs as; what root makes belongs to whom the folder does.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			path, _ := daemon.KeyFile(cfg)
			p, err := sign.Generate(path, time.Now())
			if err != nil {
				return err
			}
			return a.printKeys(keysOutput{Device: cfg.Device, File: path, ID: p.ID, PublicKey: p.Base64(), Keys: []sign.Public{p}})
		},
	}
	a.jsonFlag(c, "print one JSON object: device, file, id, public_key, keys (a JWK set)")
	return c
}

func (a *app) keysShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Print the public key, for those who verify, and the keys that it replaced",
		Long: "Prints the public key as JWK and in base64, and its id, which signatures name. What --json prints is what --verify of\n" +
			"livenessd watch takes as a file. The private key is never printed.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			path, _ := daemon.KeyFile(cfg)
			k, err := sign.Load(path)
			if err != nil {
				return failConfig(err)
			}
			all, err := sign.Published(path, k)
			if err != nil {
				a.logger(cfg).Warn("the keys that it replaced can't be read", "error", err, "hint", daemon.Hint(err))
			}
			return a.printKeys(keysOutput{Device: cfg.Device, File: path, ID: all[0].ID, PublicKey: all[0].Base64(), Keys: all})
		},
	}
	a.jsonFlag(c, "print one JSON object: device, file, id, public_key, keys (a JWK set)")
	return c
}

func (a *app) keysRotate() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the device's key; what the old one signed stays verifiable",
		Long: "Makes a new key in the place of the old one, whose public half is kept with the time until which it signed. A livenessd that\n" +
			"runs signs with the new one from the next verdict on. Those who verify refuse what it signs until they have its public\n" +
			"key: with --next they can have it beforehand. See docs/signing.md.",
		Args: usageArgs(cobra.NoArgs),
	}
	next := c.Flags().String("next", "", "private key (PEM) that was made beforehand, instead of a new one")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := a.load()
		if err != nil {
			return err
		}
		path, _ := daemon.KeyFile(cfg)
		var by *sign.Key
		if *next != "" {
			if by, err = sign.Load(*next); err != nil {
				return failConfig(err)
			}
		}
		old, made, err := sign.Rotate(path, by, time.Now())
		if err != nil {
			return failConfig(err)
		}
		k, err := sign.Load(path)
		if err != nil {
			return failConfig(err)
		}
		all, err := sign.Published(path, k)
		if err != nil {
			return failConfig(err)
		}
		return a.printKeys(keysOutput{Device: cfg.Device, File: path, ID: made.ID, PublicKey: made.Base64(), Keys: all, Replaced: old.ID})
	}
	a.jsonFlag(c, "print one JSON object: device, file, id, public_key, keys (a JWK set), replaced")
	return c
}

type keysOutput struct {
	Device    string        `json:"device"`
	File      string        `json:"file"`
	ID        string        `json:"id"`
	PublicKey string        `json:"public_key"`
	Keys      []sign.Public `json:"keys"` // the one in use first
	Replaced  string        `json:"replaced,omitempty"`
}

func (a *app) printKeys(k keysOutput) error {
	if a.json {
		return a.printJSON(k)
	}
	own := k.Keys[0]
	text, err := json.Marshal(own)
	if err != nil {
		return err
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "device\t%s\nkey id\t%s\npublic key\t%s\nJWK\t%s\nfile\t%s\n", k.Device, k.ID, k.PublicKey, text, k.File)
	if !own.Since.IsZero() {
		fmt.Fprintf(w, "since\t%s\n", own.Since.Format(time.RFC3339))
	}
	for _, p := range k.Keys[1:] {
		since := "?"
		if !p.Since.IsZero() {
			since = p.Since.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "replaced\t%s  from %s until %s\n", p.ID, since, p.Until.Format(time.RFC3339))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprint(a.Stdout, b.String())
	return err
}
