package asyncapi

import "github.com/goccy/go-yaml"

// document is as much of AsyncAPI 3.0 as livenessd uses. It is read strictly.
type document struct {
	AsyncAPI string `yaml:"asyncapi"`
	Info     struct {
		Title       string `yaml:"title"`
		Version     string `yaml:"version"`
		Description string `yaml:"description"`
		License     struct {
			Name string `yaml:"name"`
			URL  string `yaml:"url"`
		} `yaml:"license"`
	} `yaml:"info"`
	DefaultContentType string               `yaml:"defaultContentType"`
	Servers            map[string]server    `yaml:"servers"`
	Channels           map[string]channel   `yaml:"channels"`
	Operations         map[string]operation `yaml:"operations"`
	Components         components           `yaml:"components"`
}

type reference struct {
	Ref string `yaml:"$ref"`
}

type server struct {
	Host            string                    `yaml:"host"`
	Protocol        string                    `yaml:"protocol"`
	ProtocolVersion string                    `yaml:"protocolVersion"`
	Description     string                    `yaml:"description"`
	Variables       map[string]serverVariable `yaml:"variables"`
	Security        []reference               `yaml:"security"`
	Bindings        serverBindings            `yaml:"bindings"`
}

type serverVariable struct {
	Default     string   `yaml:"default"`
	Description string   `yaml:"description"`
	Examples    []string `yaml:"examples"`
}

type serverBindings struct {
	Ref  string      `yaml:"$ref"`
	MQTT *Connection `yaml:"mqtt"`
}

type channel struct {
	Address     string               `yaml:"address"`
	Title       string               `yaml:"title"`
	Description string               `yaml:"description"`
	Messages    map[string]reference `yaml:"messages"`
	Parameters  map[string]reference `yaml:"parameters"`
}

type operation struct {
	Action   string            `yaml:"action"`
	Channel  reference         `yaml:"channel"`
	Summary  string            `yaml:"summary"`
	Bindings operationBindings `yaml:"bindings"`
	Reply    *struct {
		Channel reference `yaml:"channel"`
	} `yaml:"reply"`
}

type operationBindings struct {
	Ref  string `yaml:"$ref"`
	MQTT *struct {
		QoS     byte   `yaml:"qos"`
		Retain  bool   `yaml:"retain"`
		Version string `yaml:"bindingVersion"`
	} `yaml:"mqtt"`
}

type components struct {
	Messages          map[string]messageObject     `yaml:"messages"`
	Parameters        map[string]parameterObject   `yaml:"parameters"`
	CorrelationIDs    map[string]correlationID     `yaml:"correlationIds"`
	SecuritySchemes   map[string]securityScheme    `yaml:"securitySchemes"`
	ServerBindings    map[string]serverBindings    `yaml:"serverBindings"`
	OperationBindings map[string]operationBindings `yaml:"operationBindings"`
}

type messageObject struct {
	Title         string    `yaml:"title"`
	Summary       string    `yaml:"summary"`
	ContentType   string    `yaml:"contentType"`
	CorrelationID reference `yaml:"correlationId"`
	Payload       payload   `yaml:"payload"`
	Examples      []struct {
		Name    string `yaml:"name"`
		Payload any    `yaml:"payload"`
	} `yaml:"examples"`
}

// payload is a reference to a schema's file, or a small schema.
type payload struct {
	Ref    string
	Inline map[string]any
}

var _ yaml.BytesUnmarshaler = (*payload)(nil)

// UnmarshalYAML reads either.
func (p *payload) UnmarshalYAML(b []byte) error {
	if err := yaml.Unmarshal(b, &p.Inline); err != nil {
		return err
	}
	p.Ref, _ = p.Inline["$ref"].(string)
	return nil
}

type parameterObject struct {
	Description string   `yaml:"description"`
	Default     string   `yaml:"default"`
	Examples    []string `yaml:"examples"`
}

type correlationID struct {
	Description string `yaml:"description"`
	Location    string `yaml:"location"`
}

type securityScheme struct {
	Type        string `yaml:"type"`
	Description string `yaml:"description"`
}
