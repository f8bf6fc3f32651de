package features

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// pseudonymPrefix and pseudonymBytes are the form of a pseudonym: the prefix and 43 letters of base64url.
const (
	pseudonymPrefix = "p_"
	pseudonymBytes  = len(pseudonymPrefix) + 43
)

// Pseudonym returns what stands for an id in storage, logs and exports: its HMAC-SHA256 under the shop's key as p_ and 43 letters, or the id itself
// when the shop has no key. What has the form of a pseudonym is returned as it is, so that an export can be imported and a list's ids be asked about.
func (s Shop) Pseudonym(id string) string {
	if s.PseudonymKey == "" || id == "" || IsPseudonym(id) {
		return id
	}
	m := hmac.New(sha256.New, []byte(s.PseudonymKey))
	m.Write([]byte(id))
	return pseudonymPrefix + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// IsPseudonym tells whether an id has the form of a pseudonym.
func IsPseudonym(id string) bool {
	if len(id) != pseudonymBytes || !strings.HasPrefix(id, pseudonymPrefix) {
		return false
	}
	for _, c := range []byte(id[len(pseudonymPrefix):]) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
