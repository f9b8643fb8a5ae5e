// A server of tokens for the registry of the tests, which trusts the key that it writes into a file.
// One user has all rights; everybody may read the repositories below open/.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	service  = "registry of the tests"
	issuer   = "tokens of the tests"
	user     = "user"
	password = "secret"
)

// What a token allows with a repository.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

type claims struct {
	jwt.Claims
	Access []access `json:"access"`
}

// The rights that are asked for as `repository:NAME:ACTIONS`, as far as somebody has them.
func granted(scope string, known bool) []access {
	parts := strings.Split(scope, ":")
	if len(parts) != 3 || parts[0] != "repository" {
		return nil
	}
	actions := strings.Split(parts[2], ",")
	if !known {
		if !strings.HasPrefix(parts[1], "open/") {
			return nil
		}
		actions = []string{"pull"}
	}
	return []access{{parts[0], parts[1], actions}}
}

func answer(signer jose.Signer) http.HandlerFunc {
	return func(to http.ResponseWriter, request *http.Request) {
		name, secret, shown := request.BasicAuth()
		query := request.URL.Query()
		// Tests look at who has shown what.
		fmt.Printf("asked by %q for %q\n", name, query.Get("scope"))
		known := name == user && secret == password
		if shown && !known || query.Get("service") != service {
			http.Error(to, `{"errors": [{"code": "UNAUTHORIZED", "message": "no such user"}]}`, http.StatusUnauthorized)
			return
		}
		now := time.Now()
		token, err := jwt.Signed(signer).Claims(claims{
			jwt.Claims{
				Issuer:    issuer,
				Subject:   name,
				Audience:  jwt.Audience{service},
				IssuedAt:  jwt.NewNumericDate(now),
				NotBefore: jwt.NewNumericDate(now.Add(-time.Minute)),
				Expiry:    jwt.NewNumericDate(now.Add(time.Hour)),
			},
			granted(query.Get("scope"), known),
		}).Serialize()
		if err != nil {
			http.Error(to, err.Error(), http.StatusInternalServerError)
			return
		}
		to.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(to).Encode(map[string]string{"token": token}); err != nil {
			log.Print(err)
		}
	}
}

func run() error {
	keys := flag.String("keys", "", "the `FILE` to write the key into, as a set of JWK")
	certificate := flag.String("certificate", "", "a `FILE` with a certificate, for TLS")
	key := flag.String("key", "", "the `FILE` with its key")
	flag.Parse()

	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	own := jose.JSONWebKey{Key: private, KeyID: "test", Algorithm: string(jose.ES256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: own}, nil)
	if err != nil {
		return err
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{own.Public()}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(*keys, set, 0o644); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	http.HandleFunc("GET /token", answer(signer))
	fmt.Printf("listening on %s\n", listener.Addr())
	if *certificate != "" {
		return http.ServeTLS(listener, nil, *certificate, *key)
	}
	return http.Serve(listener, nil)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
