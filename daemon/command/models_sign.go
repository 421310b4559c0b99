package command

import (
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/livenessd/livenessd/models"
)

func (a *app) modelsSign() *cobra.Command {
	c := &cobra.Command{
		Use:   "sign --key FILE DIR",
		Short: "Sign a bundle's manifest",
		Long: "Writes DIR/manifest.yaml.sig: an Ed25519 signature over the bytes of manifest.yaml, in base64. The manifest names the digest\n" +
			"of the model's file, so that is vouched for as well. Machines whose models.trusted_keys has the public key take the bundle.\n\n" +
			"  openssl genpkey -algorithm ed25519 -out key.pem     # the key; it stays with you\n" +
			"  openssl pkey -in key.pem -pubout -out public.pem    # for models.trusted_keys\n" +
			"  livenessd models sign --key key.pem DIR\n\n" +
			"The same by hand: openssl pkeyutl -sign -rawin -inkey key.pem -in DIR/manifest.yaml -out DIR/manifest.yaml.sig",
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	key := c.Flags().String("key", "", "private Ed25519 key in PEM, which others can't read")
	a.jsonFlag(c, "print one JSON object")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if *key == "" {
			return fail(ExitUsage, fmt.Errorf("--key is missing; see livenessd models sign --help"))
		}
		public, err := models.Sign(args[0], *key)
		if err != nil {
			return err
		}
		text, fingerprint := base64.StdEncoding.EncodeToString(public), models.Fingerprint(public)
		if a.json {
			return a.printJSON(map[string]string{"folder": args[0], "signed_by": fingerprint, "public_key": text})
		}
		_, err = fmt.Fprintf(a.Stdout, "%s: signed by %s; its public key, for models.trusted_keys: %s\n", args[0], fingerprint, text)
		return err
	}
	return c
}
