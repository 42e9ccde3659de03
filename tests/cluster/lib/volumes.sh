# shellcheck shell=bash
# No provisioner stands behind the class `local`: each node has eight volumes, directories made beforehand.

# local_volumes NODE DIR: for DIR/1 to DIR/8 of that node
local_volumes() {
  local v
  for v in $(seq 8); do
    cat <<Y
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$1-$v}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {path: $2/$v}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$1]}]}]}
Y
  done
}
