// Package sign is the device's key and what it signs: verdicts as JWS (RFC 7515), compact, EdDSA over Ed25519.
//
// A key's id is its thumbprint (RFC 7638), so that an id names one key and no other. Verify takes a JWS only in the one form in which Sign
// writes it, so that no byte of it can be changed, and only from keys that its caller names; a key that comes with the message, or
// from the broker, is never one of them. It says who signed, not when: what was signed once stays signed, and whether it is still of
// use is its caller's question to the payload's times and numbers.
//
// The private key lies in a file (PKCS #8 in PEM) that only its owner, or his group, can read; the public keys beside it, those that were
// replaced included, with the times from and until which they signed. Both are written as a whole or not at all. The package doesn't
// protect a key from root or from whoever takes the disk out of the machine.
package sign
