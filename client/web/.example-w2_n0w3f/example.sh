curl -s -N http://127.0.0.1:43039/v1/foyers/0000001/declarations/2026/11:watch \
  -H "authorization: Bearer $JETON" | head -n 2
