package load

import "errors"

// ErrMismatch is wrapped by the error of Send when spans were not accepted, and by that of Verify when what a server holds is
// not what was generated: a finding about the server, not a failure of the tool.
var ErrMismatch = errors.New("spans do not match")
