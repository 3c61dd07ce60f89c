"""Why a file could not be read or written, in French whatever the language of the system."""

from __future__ import annotations

import errno

_TEXTS = {
    errno.ENOENT: "fichier introuvable",
    errno.EACCES: "accès refusé",
    errno.EPERM: "accès refusé",
    errno.EISDIR: "c'est un répertoire, un fichier est attendu",
    errno.ENOTDIR: "un des répertoires du chemin n'en est pas un",
    errno.EEXIST: "existe déjà",
    errno.ENOSPC: "plus de place sur le disque",
    errno.EROFS: "ce disque est en lecture seule",
    errno.ENAMETOOLONG: "nom trop long",
    errno.EMFILE: "trop de fichiers ouverts",
    errno.EADDRINUSE: "cette adresse est déjà prise",
    errno.EIO: "le disque ne répond pas",
}


def os_error_text(error: OSError) -> str:
    """Say what went wrong; an error without a sentence of ours gives the system's own name of it (`ELOOP`)."""
    known = _TEXTS.get(error.errno or 0)
    if known is not None:
        return known
    name = errno.errorcode.get(error.errno or 0)
    return f"erreur du système ({name})" if name else "erreur du système"
