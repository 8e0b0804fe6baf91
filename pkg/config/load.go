package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Options say where settings come from.
type Options struct {
	Args      []string // the command line without the program's name
	Environ   []string // as os.Environ returns it
	EnvPrefix string   // of every environment variable; empty means "VARVE_"
	AllowArgs bool     // whether arguments that are no flags may follow the flags
}

const defaultEnvPrefix = "VARVE_"

// Loaded is what came of loading, and what else the command line asked for;
// package main acts on it.
type Loaded struct {
	File    string   // -config.file, empty without one
	Check   bool     // -config.check: say whether the configuration is valid, and end
	Print   bool     // -config.print: write the effective configuration, and end
	Version bool     // -version
	Help    bool     // -help; dst is untouched if this or Version is set
	Args    []string // what followed the flags, if Options.AllowArgs

	tree   *tree
	origin map[string]string // by option name; absent means default
}

// Load fills dst, a pointer to a struct that holds the defaults, from the file
// named by -config.file (or its environment variable), the environment, and the
// flags, each overriding the one before. Then it calls Validate on dst and on
// every section that has it. The error joins everything found wrong. Loaded is
// never nil unless dst itself cannot be a configuration.
func Load(dst any, opts Options) (*Loaded, error) {
	if opts.EnvPrefix == "" {
		opts.EnvPrefix = defaultEnvPrefix
	}
	t, err := newTree(dst, opts.EnvPrefix)
	if err != nil {
		return nil, err
	}
	l := &Loaded{tree: t, origin: map[string]string{}}
	flags, errs := l.parseFlags(opts.Args, opts.AllowArgs)
	if l.Help || l.Version {
		return l, nil
	}
	env, envErrs := l.parseEnviron(opts)
	if l.File != "" {
		errs = append(errs, l.applyFile(l.File)...)
	}
	for _, s := range slices.Concat(env, flags) {
		errs = append(errs, l.apply(s))
	}
	errs = append(errs, envErrs...)
	errs = append(errs, l.validate()...)
	return l, errors.Join(errs...)
}

// setting is one assignment found outside the file.
type setting struct {
	option *option
	value  string
	origin string
}

func (l *Loaded) apply(s setting) error {
	if err := s.option.set(s.value); err != nil {
		return fmt.Errorf("%s: %s: %w", s.origin, s.option.name, err)
	}
	l.origin[s.option.name] = s.origin
	return nil
}

// parseFlags reads -name=value, -name value, and -name for booleans; one or two dashes.
func (l *Loaded) parseFlags(args []string, allowArgs bool) ([]setting, []error) {
	var found []setting
	var errs []error
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" || len(arg) < 2 || arg[0] != '-' {
			if arg == "--" {
				args = args[1:]
			}
			if l.Args = args; !allowArgs && len(args) > 0 {
				errs = append(errs, fmt.Errorf("unexpected argument %q: options are written -name=value", args[0]))
			}
			return found, errs
		}
		args = args[1:]
		name, value, has := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		if !has && !l.isSwitch(name) && l.known(name) {
			if len(args) == 0 {
				errs = append(errs, fmt.Errorf("flag -%s: needs a value", name))
				continue
			}
			value, args = args[0], args[1:]
		} else if !has {
			value = "true"
		}
		s, err := l.flag(name, value)
		if s.option != nil {
			found = append(found, s)
		}
		errs = append(errs, err)
	}
	return found, errs
}

// command returns the field behind a flag that is no option, nil for any other.
func (l *Loaded) command(name string) *bool {
	switch name {
	case "config.check":
		return &l.Check
	case "config.print":
		return &l.Print
	case "version":
		return &l.Version
	case "help", "h":
		return &l.Help
	}
	return nil
}

func (l *Loaded) isSwitch(name string) bool {
	o := l.tree.byName[name]
	return l.command(name) != nil || o != nil && o.value.Kind() == reflect.Bool
}

func (l *Loaded) known(name string) bool {
	return name == "config.file" || l.tree.byName[name] != nil
}

func (l *Loaded) flag(name, value string) (setting, error) {
	if name == "config.file" {
		l.File = value
		return setting{}, nil
	}
	if c := l.command(name); c != nil {
		o := option{value: reflect.ValueOf(c).Elem()}
		if err := o.set(value); err != nil {
			return setting{}, fmt.Errorf("flag -%s: %w", name, err)
		}
		return setting{}, nil
	}
	o := l.tree.byName[name]
	if o == nil {
		return setting{}, fmt.Errorf("flag -%s: unknown option%s", name, l.tree.suggest(name))
	}
	if o.value.Type() == reflect.TypeFor[Secret]() {
		return setting{}, fmt.Errorf("flag -%s: a secret must not be on the command line, where every user of the machine can read it: "+
			"set it in the file of -config.file or in the environment variable %s", name, o.env)
	}
	return setting{option: o, value: value, origin: "flag -" + name}, nil
}

// serviceLink matches what Kubernetes puts into every container's environment
// for a Service, here for one whose name begins like our prefix.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

func (l *Loaded) parseEnviron(opts Options) ([]setting, []error) {
	var found []setting
	var errs []error
	fileEnv := envName(opts.EnvPrefix, "config.file")
	for _, kv := range opts.Environ {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, opts.EnvPrefix) {
			continue
		}
		switch o := l.tree.byEnv[key]; {
		case o != nil:
			found = append(found, setting{option: o, value: value, origin: "environment " + key})
		case key == fileEnv:
			if l.File == "" {
				l.File = value
			}
		case !serviceLink.MatchString(key):
			errs = append(errs, fmt.Errorf("environment %s: unknown option", key))
		}
	}
	return found, errs
}

// suggest returns a hint at the one option whose last part is that of name, or nothing.
func (t *tree) suggest(name string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	hint := ""
	for _, o := range t.options {
		if o.name[strings.LastIndexByte(o.name, '.')+1:] != last {
			continue
		}
		if hint != "" {
			return ""
		}
		hint = fmt.Sprintf(", did you mean %s?", o.name)
	}
	return hint
}
