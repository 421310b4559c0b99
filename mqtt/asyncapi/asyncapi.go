// Package asyncapi reads livenessd's description of its own topics, AsyncAPI 3.0 with a JSON Schema for each document, and tells whether a
// message is what it says.
//
// A description that was read holds together: each reference leads somewhere, each channel has one operation, or is the reply of one, each
// message has examples, and these are what their schemas say. The package is for tests, which hold the daemon to the description and the
// description to the daemon; nothing that ships imports it. It knows the parts of AsyncAPI that livenessd uses, and takes others for errors.
package asyncapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// File is the description's name.
const File = "asyncapi.yaml"

// Description is a description that holds together.
type Description struct {
	Server   Connection // what all servers say of the connection
	channels []*Channel
	schemas  map[string]*jsonschema.Schema
}

// Connection is how the daemon connects.
type Connection struct {
	ClientID     string   `yaml:"clientId"`
	CleanSession bool     `yaml:"cleanSession"`
	KeepAlive    int      `yaml:"keepAlive"`
	LastWill     LastWill `yaml:"lastWill"`
	Version      string   `yaml:"bindingVersion"`
}

// LastWill is what the broker says for a daemon that is gone.
type LastWill struct {
	Topic   string `yaml:"topic"`
	QoS     byte   `yaml:"qos"`
	Message string `yaml:"message"`
	Retain  bool   `yaml:"retain"`
}

// Channel is a topic, or those that differ in parameters alone.
type Channel struct {
	Name    string
	Address string // {prefix}/{device}/camera/{camera}/verdict
	Sends   bool   // the daemon publishes there; otherwise it listens
	QoS     byte
	Retain  bool
	Reply   string // the channel on which what comes here is answered, "" for none

	messages []message
}

// message is one of a channel's kinds of message.
type message struct {
	name   string
	schema *jsonschema.Schema
	text   bool // the payload is a text, not JSON
}

// Read reads a description and the schemas that lie beside it.
func Read(files fs.FS) (*Description, error) {
	d, err := read(files)
	if err != nil {
		return nil, fmt.Errorf("asyncapi: read %s: %w", File, err)
	}
	return d, nil
}

func read(files fs.FS) (*Description, error) {
	schemas, err := compile(files)
	if err != nil {
		return nil, err
	}
	b, err := fs.ReadFile(files, File)
	if err != nil {
		return nil, err
	}
	var doc document
	var raw map[string]any
	if err := errors.Join(yaml.UnmarshalWithOptions(b, &doc, yaml.Strict()), yaml.Unmarshal(b, &raw)); err != nil {
		return nil, err
	}
	if err := resolve(raw, raw, files, ""); err != nil {
		return nil, err
	}
	d := &Description{schemas: schemas}
	return d, errors.Join(d.servers(&doc), d.read(&doc))
}

// compile reads all schemas. They refer to each other by their files' names.
func compile(files fs.FS) (map[string]*jsonschema.Schema, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // which loads nothing: all that there is is here
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := errors.Join(plain(doc, name), c.AddResource(base+name, doc)); err != nil {
			return nil, err
		}
	}
	out := map[string]*jsonschema.Schema{}
	for _, name := range names {
		if out[name], err = c.Compile(base + name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

const base = "schema:///"

// keywords are those that schemas may use. All are of draft 7, as AsyncAPI's own schemas are, and a misspelt one would hold nobody to anything.
var keywords = strings.Fields("$schema title description type required properties additionalProperties items enum const minimum maximum " +
	"minLength maxLength pattern format minItems maxItems uniqueItems allOf anyOf oneOf not if then else $ref examples contentMediaType propertyNames")

// plain refuses keywords that nobody knows.
func plain(schema any, at string) error {
	switch s := schema.(type) {
	case bool:
		return nil
	case map[string]any:
		var errs []error
		for _, k := range slices.Sorted(maps.Keys(s)) {
			here := at + "/" + k
			if !slices.Contains(keywords, k) {
				errs = append(errs, fmt.Errorf("%s: nobody knows this keyword", here))
			}
			if _, ref := s["$ref"]; ref && k != "$ref" {
				errs = append(errs, fmt.Errorf("%s: beside a $ref it counts for nothing", here))
			}
			switch k {
			case "properties":
				p, _ := s[k].(map[string]any)
				for name, v := range p {
					errs = append(errs, plain(v, here+"/"+name))
				}
			case "items", "additionalProperties", "not", "if", "then", "else", "propertyNames":
				errs = append(errs, plain(s[k], here))
			case "allOf", "anyOf", "oneOf":
				list, _ := s[k].([]any)
				for i, v := range list {
					errs = append(errs, plain(v, fmt.Sprint(here, "/", i)))
				}
			}
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("%s: %T is no schema", at, schema)
}

// resolve follows each reference below a node.
func resolve(root map[string]any, node any, files fs.FS, at string) error {
	var errs []error
	switch n := node.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(n)) {
			ref, is := n[k].(string)
			if k != "$ref" || !is {
				errs = append(errs, resolve(root, n[k], files, at+"/"+k))
				continue
			}
			if len(n) > 1 {
				errs = append(errs, fmt.Errorf("%s: something stands beside the $ref", at))
			}
			if !leads(root, ref, files) {
				errs = append(errs, fmt.Errorf("%s: $ref %s leads nowhere", at, ref))
			}
		}
	case []any:
		for i, v := range n {
			errs = append(errs, resolve(root, v, files, fmt.Sprint(at, "/", i)))
		}
	}
	return errors.Join(errs...)
}

func leads(root map[string]any, ref string, files fs.FS) bool {
	inside, is := strings.CutPrefix(ref, "#/")
	if !is {
		_, err := fs.Stat(files, path.Clean(ref))
		return err == nil
	}
	var node any = root
	for step := range strings.SplitSeq(inside, "/") {
		m, _ := node.(map[string]any)
		if node, is = m[step]; !is {
			return false
		}
	}
	return true
}

// servers takes what the servers say of the connection, and wants all to say the same.
func (d *Description) servers(doc *document) error {
	var errs []error
	if len(doc.Servers) == 0 {
		errs = append(errs, errors.New("servers: there is none"))
	}
	first := true
	for _, name := range slices.Sorted(maps.Keys(doc.Servers)) {
		s := doc.Servers[name]
		b := s.Bindings.MQTT
		if s.Bindings.Ref != "" {
			b = doc.Components.ServerBindings[last(s.Bindings.Ref)].MQTT
		}
		switch {
		case s.Host == "" || s.Protocol != "mqtt" && s.Protocol != "secure-mqtt" || s.ProtocolVersion != "3.1.1":
			errs = append(errs, fmt.Errorf("servers/%s: host %q, protocol %q, version %q", name, s.Host, s.Protocol, s.ProtocolVersion))
		case b == nil:
			errs = append(errs, fmt.Errorf("servers/%s: no binding for mqtt", name))
		case !first && d.Server != *b:
			errs = append(errs, fmt.Errorf("servers/%s: another binding than the others'", name))
		default:
			d.Server, first = *b, false
		}
	}
	return errors.Join(errs...)
}

var parameter = regexp.MustCompile(`\{([a-z]+)\}`)

func (d *Description) read(doc *document) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if doc.AsyncAPI != "3.0.0" || doc.Info.Title == "" || doc.Info.Version == "" {
		fail("version %q, title %q of version %q", doc.AsyncAPI, doc.Info.Title, doc.Info.Version)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Channels)) {
		c := doc.Channels[name]
		out := &Channel{Name: name, Address: c.Address}
		var used []string
		for _, m := range parameter.FindAllStringSubmatch(c.Address, -1) {
			used = append(used, m[1])
		}
		if slices.Sort(used); !slices.Equal(used, slices.Sorted(maps.Keys(c.Parameters))) {
			fail("channels/%s: address %s, but parameters %v", name, c.Address, slices.Sorted(maps.Keys(c.Parameters)))
		}
		if c.Description == "" || len(c.Messages) == 0 {
			fail("channels/%s: no description, or no message", name)
		}
		for _, key := range slices.Sorted(maps.Keys(c.Messages)) {
			to := last(c.Messages[key].Ref)
			m, err := d.message(doc, to)
			if err != nil || to != key {
				fail("channels/%s: message %s: %w", name, key, errors.Join(err, differ(to, key)))
			}
			out.messages = append(out.messages, m)
		}
		d.channels = append(d.channels, out)
	}
	for name := range doc.Components.Messages {
		if !slices.ContainsFunc(d.channels, func(c *Channel) bool {
			return slices.ContainsFunc(c.messages, func(m message) bool { return m.name == name })
		}) {
			fail("components/messages/%s: no channel has it", name)
		}
	}
	operated := map[string]string{}
	operate := func(channel, operation string) {
		if other, twice := operated[channel]; twice {
			fail("operations/%s: channel %s is that of %s", operation, channel, other)
		}
		operated[channel] = operation
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Operations)) {
		o := doc.Operations[name]
		c := d.channel(last(o.Channel.Ref))
		b := o.Bindings.MQTT
		if o.Bindings.Ref != "" {
			b = doc.Components.OperationBindings[last(o.Bindings.Ref)].MQTT
		}
		if c == nil || b == nil || b.QoS > 2 || o.Summary == "" || o.Action != "send" && o.Action != "receive" {
			fail("operations/%s: action %q, channel %q, summary %q, binding for mqtt: %v", name, o.Action, o.Channel.Ref, o.Summary, b)
			continue
		}
		operate(c.Name, name)
		c.Sends, c.QoS, c.Retain = o.Action == "send", b.QoS, b.Retain
		if o.Reply == nil {
			continue
		}
		r := d.channel(last(o.Reply.Channel.Ref))
		if r == nil || o.Action != "receive" {
			fail("operations/%s: a reply on channel %q to %s", name, o.Reply.Channel.Ref, o.Action)
			continue
		}
		operate(r.Name, name)
		c.Reply = r.Name
		r.Sends, r.QoS, r.Retain = true, b.QoS, b.Retain // a reply has no bindings of its own
	}
	for _, c := range d.channels {
		if operated[c.Name] == "" {
			fail("channels/%s: no operation uses it", c.Name)
		}
	}
	return errors.Join(errs...)
}

func differ(a, b string) error {
	if a == b {
		return nil
	}
	return fmt.Errorf("%q, not %q", a, b)
}

// message compiles a message and holds its examples to it.
func (d *Description) message(doc *document, name string) (message, error) {
	m, known := doc.Components.Messages[name]
	if !known {
		return message{}, errors.New("there is no such message")
	}
	out := message{name: name, text: m.ContentType == "text/plain" || m.ContentType == "application/jose", schema: d.schemas[path.Clean(m.Payload.Ref)]}
	if m.Payload.Ref == "" {
		b, err := json.Marshal(m.Payload.Inline)
		if err != nil {
			return out, err
		}
		s, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return out, err
		}
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft7)
		err = errors.Join(plain(s, name), c.AddResource(base+name, s))
		if err != nil {
			return out, err
		}
		if out.schema, err = c.Compile(base + name); err != nil {
			return out, err
		}
	}
	if out.schema == nil {
		return out, fmt.Errorf("no schema %s", m.Payload.Ref)
	}
	if m.Summary == "" || len(m.Examples) == 0 || !out.text && m.ContentType != "application/json" && m.ContentType != "" {
		return out, fmt.Errorf("summary %q, %d examples, content type %q", m.Summary, len(m.Examples), m.ContentType)
	}
	for i, e := range m.Examples {
		b, err := json.Marshal(e.Payload)
		if text, is := e.Payload.(string); out.text && is {
			b = []byte(text)
		}
		if err := errors.Join(err, out.check(b)); err != nil {
			return out, fmt.Errorf("example %d: %w", i, err)
		}
	}
	return out, nil
}

func (m *message) check(payload []byte) error {
	var doc any = string(payload)
	if !m.text {
		var err error
		if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(payload)); err != nil {
			return err
		}
	}
	return m.schema.Validate(doc)
}

// Channels lists all channels by name.
func (d *Description) Channels() []*Channel { return d.channels }

func (d *Description) channel(name string) *Channel {
	for _, c := range d.channels {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Find tells on which channel a topic is, nil for none. The prefix is what stands for {prefix} in it.
func (d *Description) Find(prefix, topic string) *Channel {
	for _, c := range d.channels {
		want := strings.Split(strings.ReplaceAll(c.Address, "{prefix}", prefix), "/")
		got := strings.Split(topic, "/")
		if slices.EqualFunc(want, got, func(w, g string) bool { return w == g || parameter.MatchString(w) && g != "" }) {
			return c
		}
	}
	return nil
}

// Check tells what in a payload contradicts the channel's messages.
func (c *Channel) Check(payload []byte) error {
	var errs []error
	for _, m := range c.messages {
		err := m.check(payload)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("asyncapi: %s is no %s: %w", c.Name, m.name, err))
	}
	return errors.Join(errs...)
}

// Schemas lists the files of the schemas.
func (d *Description) Schemas() []string { return slices.Sorted(maps.Keys(d.schemas)) }

// CheckAs tells what in a document contradicts the schema of a file.
func (d *Description) CheckAs(file string, document []byte) error {
	s, known := d.schemas[file]
	if !known {
		return fmt.Errorf("asyncapi: no schema %s", file)
	}
	m := message{schema: s}
	return m.check(document)
}

func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }
