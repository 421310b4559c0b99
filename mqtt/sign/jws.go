package sign

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Type is the typ of a signed verdict, so that nothing else that a key signs can be taken for one.
const Type = "livenessd-verdict+jws"

// MaxJWS bounds what is verified: a document of 64 KiB in base64, a header, a signature.
const MaxJWS = 88 << 10

// Key is a private key. Its methods are safe for concurrent use.
type Key struct {
	public  Public
	private ed25519.PrivateKey
	signer  jose.Signer
}

// NewKey makes a signer of a private key.
func NewKey(private ed25519.PrivateKey) (*Key, error) {
	if len(private) != ed25519.PrivateKeySize {
		return nil, &Error{Op: "use a key", Err: fmt.Errorf("%d bytes, not %d", len(private), ed25519.PrivateKeySize)}
	}
	public, err := newPublic(private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, &Error{Op: "use a key", Err: err}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: public.ID}},
		new(jose.SignerOptions).WithType(Type))
	if err != nil {
		return nil, &Error{Op: "use a key", Err: err}
	}
	return &Key{public, private, signer}, nil
}

// Public is the key's other half.
func (k *Key) Public() Public { return k.public }

// Sign gives a JWS whose payload is these very bytes.
func (k *Key) Sign(payload []byte) ([]byte, error) {
	signed, err := k.signer.Sign(payload)
	if err != nil {
		return nil, &Error{Op: "sign", Err: err}
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return nil, &Error{Op: "sign", Err: err}
	}
	return []byte(text), nil
}

// Verify gives the payload of a JWS and which of the keys signed it. Its errors are ErrForm, ErrKey and ErrSignature.
func Verify(jws []byte, keys []Public) (payload []byte, by Public, err error) {
	fail := func(kind error, format string, args ...any) ([]byte, Public, error) {
		if format != "" {
			kind = fmt.Errorf("%w: "+format, append([]any{kind}, args...)...)
		}
		return nil, Public{}, &Error{Op: "verify", Err: kind}
	}
	// Decoders of base64 skip line breaks and bits that aren't used: with such leeway a JWS could be altered and still be as good.
	if len(jws) > MaxJWS {
		return fail(ErrForm, "%d bytes, more than %d", len(jws), MaxJWS)
	}
	parts := bytes.Split(jws, []byte("."))
	if len(parts) != 3 {
		return fail(ErrForm, "%d parts, not 3", len(parts))
	}
	for _, p := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(string(p)); err != nil || bytes.ContainsAny(p, "\r\n") {
			return fail(ErrForm, "not in base64url")
		}
	}
	signed, err := jose.ParseSignedCompact(string(jws), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return fail(ErrForm, "%w", err)
	}
	header := signed.Signatures[0].Protected
	if typ := header.ExtraHeaders[jose.HeaderType]; typ != Type {
		return fail(ErrForm, "typ %.40q", fmt.Sprint(typ))
	}
	at := slices.IndexFunc(keys, func(k Public) bool { return k.ID == header.KeyID })
	if at < 0 {
		return fail(ErrKey, "%.50q", header.KeyID)
	}
	payload, err = signed.Verify(keys[at].Key)
	if err != nil {
		return fail(ErrSignature, "")
	}
	return payload, keys[at], nil
}
