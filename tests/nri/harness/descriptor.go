package harness

import (
	"fmt"
	"sort"

	"github.com/containerd/nri/pkg/api"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Descriptor is what the Go module says of the protocol: a line for each field of a message ("MESSAGE FIELD NUMBER
// TYPE") and each value of an enumeration ("enum ENUMERATION VALUE NUMBER").
func Descriptor() []string {
	var lines []string
	enumerations := func(enums protoreflect.EnumDescriptors) {
		for i := range enums.Len() {
			values := enums.Get(i).Values()
			for j := range values.Len() {
				lines = append(lines, fmt.Sprintf("enum %s %s %d", enums.Get(i).Name(), values.Get(j).Name(), values.Get(j).Number()))
			}
		}
	}
	enumerations(api.File_pkg_api_api_proto.Enums())
	messages := api.File_pkg_api_api_proto.Messages()
	for i := range messages.Len() {
		message := messages.Get(i)
		enumerations(message.Enums())
		for j := range message.Fields().Len() {
			field := message.Fields().Get(j)
			shape := kind(field)
			if field.IsMap() {
				shape = "map<" + kind(field.MapKey()) + "," + kind(field.MapValue()) + ">"
			} else if field.IsList() {
				shape = "repeated<" + shape + ">"
			}
			lines = append(lines, fmt.Sprintf("%s %s %d %s", message.Name(), field.Name(), field.Number(), shape))
		}
	}
	sort.Strings(lines)
	return lines
}

func kind(field protoreflect.FieldDescriptor) string {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return string(field.Message().Name())
	case protoreflect.EnumKind:
		return string(field.Enum().Name())
	default:
		return field.Kind().String()
	}
}
