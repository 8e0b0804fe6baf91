package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// option is one leaf of the root struct.
type option struct {
	name  string
	env   string
	help  string
	value reflect.Value // addressable, of one of the types that typeName names
}

// section is one struct in the tree of the root; the root's name is empty.
type section struct {
	name    string
	help    string
	value   reflect.Value // addressable
	options []*option
}

// tree is the root struct taken apart: sections and options in the order of the fields.
type tree struct {
	sections []*section
	options  []*option
	byName   map[string]*option
	byEnv    map[string]*option
	isSect   map[string]bool
}

// newTree takes root apart, a pointer to a struct. Its errors are mistakes in
// the struct, not in anybody's input.
func newTree(root any, envPrefix string) (*tree, error) {
	v := reflect.ValueOf(root)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("config root is %T, must be a pointer to a struct", root)
	}
	t := &tree{byName: map[string]*option{}, byEnv: map[string]*option{}, isSect: map[string]bool{}}
	if err := t.addSection("", "", v.Elem(), envPrefix); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tree) addSection(name, help string, v reflect.Value, envPrefix string) error {
	s := &section{name: name, help: help, value: v}
	t.sections = append(t.sections, s)
	t.isSect[name] = true
	var errs []error
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if tag == "-" {
			continue
		}
		if !f.IsExported() || tag == "" {
			errs = append(errs, fmt.Errorf("config field %s.%s needs to be exported and to have a yaml name", v.Type(), f.Name))
			continue
		}
		full := join(name, tag)
		if f.Type.Kind() == reflect.Struct && !isText(v.Field(i)) {
			errs = append(errs, t.addSection(full, f.Tag.Get("help"), v.Field(i), envPrefix))
			continue
		}
		errs = append(errs, t.addOption(s, &option{
			name: full, env: envName(envPrefix, full), help: f.Tag.Get("help"), value: v.Field(i),
		}))
	}
	return errors.Join(errs...)
}

func (t *tree) addOption(s *section, o *option) error {
	if typeName(o.value) == "" {
		return fmt.Errorf("config option %s has type %s, which cannot be set from text", o.name, o.value.Type())
	}
	if other := t.byEnv[o.env]; other != nil {
		return fmt.Errorf("config options %s and %s would share the environment variable %s", other.name, o.name, o.env)
	}
	t.byName[o.name], t.byEnv[o.env] = o, o
	t.options = append(t.options, o)
	s.options = append(s.options, o)
	return nil
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

func envName(prefix, name string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(name))
}

func isText(v reflect.Value) bool {
	_, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	return ok
}

// typeName returns how documentation calls the type of an option, "" if it can't be one.
func typeName(v reflect.Value) string {
	switch v.Interface().(type) {
	case Duration:
		return "duration"
	case Bytes:
		return "bytes"
	case Secret:
		return "secret"
	case StringList:
		return "list"
	case time.Duration:
		return "" // as an integer it would be nanoseconds: nobody means that
	}
	switch v.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return "int"
	case reflect.Float64:
		return "float"
	case reflect.String:
		return "string"
	}
	if isText(v) {
		return "string"
	}
	if _, ok := reflect.TypeAssert[yaml.Unmarshaler](v.Addr()); ok {
		return "YAML" // which only a file can have
	}
	return ""
}

// set parses text into the option. Its errors name the text, never a secret.
func (o *option) set(text string) error {
	v := o.value
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return numError(text, "a whole number", err)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return numError(text, "a whole number that is not negative", err)
		}
		v.SetUint(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return numError(text, "a number", err)
		}
		v.SetFloat(f)
	default:
		v.SetString(text)
	}
	return nil
}

func numError(text, want string, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q is too large", text)
	}
	return fmt.Errorf("%q is not %s", text, want)
}

// text returns the option's value as it would be written in a flag; a secret is masked.
func (o *option) text() string {
	return fmt.Sprint(o.value.Interface())
}
