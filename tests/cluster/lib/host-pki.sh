# shellcheck shell=bash
# Certificates and kubeconfigs: one CA for the cluster, one for the front proxy (aggregated APIs), one key for
# service accounts. Nothing skips verification except the metrics API's own serving certificate.

pki_start() {
  mkdir -p "$PKI"
  local name san
  for name in ca front-ca; do
    new_key "$name"
    openssl req -x509 -new -key "$PKI/$name.key" -subj "/CN=$name" -days 365 -out "$PKI/$name.crt" \
      -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  done
  openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null
  san=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  certificate apiserver          /CN=kube-apiserver ca "$san,DNS:localhost,IP:127.0.0.1,IP:$GATEWAY,IP:10.96.0.1"
  certificate apiserver-kubelet  /O=system:masters/CN=kube-apiserver-kubelet-client ca
  certificate front-proxy        /CN=front-proxy-client front-ca
  user admin              /O=system:masters/CN=admin
  user controller-manager /CN=system:kube-controller-manager
  user scheduler          /CN=system:kube-scheduler
  user kube-proxy         /CN=system:kube-proxy
  user kube-router        /CN=kube-router
  install -m 600 "$PKI/admin.kubeconfig" "$KUBECONFIG"
}

new_key() { (umask 077; openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key" 2>/dev/null); }

# certificate NAME SUBJECT CA [SUBJECT-ALT-NAMES]
certificate() {
  new_key "$1"
  openssl req -new -key "$PKI/$1.key" -subj "$2" -out "$PKI/$1.csr"
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$3.crt" -CAkey "$PKI/$3.key" -CAcreateserial -days 365 -out "$PKI/$1.crt" \
    -extfile <(printf 'keyUsage=digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n%s\n' "${4:+subjectAltName=$4}") \
    2>/dev/null
}

# user NAME SUBJECT [SUBJECT-ALT-NAMES]: a certificate, and a kubeconfig that holds all it needs, so that it can be copied
user() {
  certificate "$1" "$2" ca "${3:-}"
  (umask 077; cat >"$PKI/$1.kubeconfig") <<Y
apiVersion: v1
kind: Config
current-context: hyperpage
contexts: [{name: hyperpage, context: {cluster: hyperpage, user: $1}}]
clusters: [{name: hyperpage, cluster: {server: "$API", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}}]
Y
}
