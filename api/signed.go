package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/gin-gonic/gin"

	"perennial/experiments"
)

// signatureHeader and signatureAttribute carry the signature of a unit; an attribute is what every frontend SDK can send.
const (
	signatureHeader    = "X-Unit-Signature"
	signatureAttribute = "unitSignature"
)

// Sign returns the signature of a unit: HMAC-SHA256 in lower-case hex. A shop's own server hands it to its page with the unit's id.
func Sign(key []byte, unit string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(unit))
	return hex.EncodeToString(m.Sum(nil))
}

// signed refuses a question with a frontend key about a unit that is not signed, when the shop asks for signatures: such keys are public, and a variant
// that hangs on a score would tell anyone a customer's risk.
func (a *ask) signed(c *gin.Context) error {
	if len(a.s.o.UnitKey) == 0 || callerOf(c.Request.Context()).bits != frontend || a.unit.ID == "" {
		return nil
	}
	got := c.GetHeader(signatureHeader)
	if v := a.sent.Attribute(signatureAttribute); got == "" && v.Kind == experiments.Text_ {
		got = v.Text
	}
	if !hmac.Equal([]byte(got), []byte(Sign(a.s.o.UnitKey, a.unit.ID))) {
		return problem(http.StatusForbidden, "this shop asks for signed units: send HMAC-SHA256 of the unit in hex as %s or as context attribute %s", signatureHeader, signatureAttribute)
	}
	return nil
}
