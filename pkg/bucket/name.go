package bucket

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of object names: S3 and GCS allow 1,024 bytes, file systems 255 for each element.
const (
	maxNameLength    = 1024
	maxElementLength = 255
)

// ErrName is wrapped by the error for an object name that no bucket takes.
var ErrName = errors.New("invalid object name")

// checkName accepts names that mean one object in every kind of bucket: elements of printable UTF-8 separated by
// single slashes, none of them empty, "." or "..".
func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrName)
	}
	if len(name) > maxNameLength {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrName, len(name), maxNameLength)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unsafeRune) {
		return fmt.Errorf("%w: %q holds a control character, a backslash or no UTF-8", ErrName, name)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "" || element == "." || element == "..":
			return fmt.Errorf("%w: %q has the element %q", ErrName, name, element)
		case element == temporaryDir:
			return fmt.Errorf("%w: %q is reserved", ErrName, element)
		case len(element) > maxElementLength:
			return fmt.Errorf("%w: an element of %d bytes, at most %d are allowed", ErrName, len(element), maxElementLength)
		}
	}
	return nil
}

func unsafeRune(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }

// checkDir is checkName for what a listing starts from: "" is the root, and one slash may end it.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	return checkName(strings.TrimSuffix(dir, "/"))
}
