// Package config fills one root struct with settings and explains them.
//
// It owns how options are named, where they come from, and the types of their
// values. An option is a field; the `yaml` tags on the way to it, joined by
// dots, are its one name: `ingester.head_period` in YAML (nested or dotted),
// `-ingester.head_period` as a flag, `VARVE_INGESTER_HEAD_PERIOD` in the
// environment. A `help` tag says what it means.
//
// Promises: defaults < file < environment < flags; nothing unknown is ignored;
// everything that is wrong is reported at once, with where it was set; a
// [Secret] comes from the file or the environment, never from the command line,
// and never shows itself.
package config
