/** What the codes of the contract are called on the screen. */

import {
  Benefit,
  DeclarationState,
  type HeldRecord,
  LineStatus,
  NatureRessource,
  RecordMode,
} from "../client/index.ts";

export const STATES: Record<DeclarationState, string> = {
  [DeclarationState.UNSPECIFIED]: "",
  [DeclarationState.PREREMPLIE]: "Préremplie",
  [DeclarationState.EN_COURS]: "En cours",
  [DeclarationState.VALIDEE]: "Validée",
  [DeclarationState.EN_VERIFICATION]: "Validée, rectification en vérification",
  [DeclarationState.REVISEE]: "Révisée",
  [DeclarationState.NON_RETOURNEE]: "Non retournée",
  [DeclarationState.CLOSE]: "Close",
};

export const STATUSES: Record<LineStatus, string> = {
  [LineStatus.UNSPECIFIED]: "",
  [LineStatus.PREREMPLI]: "prérempli",
  [LineStatus.CONFIRME]: "confirmé",
  [LineStatus.RECTIFIE]: "rectifié",
  [LineStatus.ACCEPTE]: "rectification acceptée",
  [LineStatus.REJETE]: "rectification rejetée",
  [LineStatus.PARTIEL]: "accepté en partie",
  [LineStatus.AJOUTE]: "ajouté",
  [LineStatus.A_DECLARER]: "à déclarer",
  [LineStatus.CONNU]: "connu de la Caf",
};

export const BENEFITS: Record<Benefit, string> = {
  [Benefit.UNSPECIFIED]: "",
  [Benefit.RSA]: "RSA",
  [Benefit.PRIME_ACTIVITE]: "Prime d'activité",
};

/** Resources that a household may add, in the order offered. */
export const ADDABLE: readonly (readonly [NatureRessource, string])[] = [
  [NatureRessource.PENSION_ALIMENTAIRE, "Pension alimentaire reçue"],
  [NatureRessource.SALAIRE, "Salaire ou prime"],
  [NatureRessource.CHOMAGE, "Allocation de chômage"],
  [NatureRessource.RETRAITE, "Retraite ou réversion"],
  [NatureRessource.IJSS_MALADIE, "Indemnités journalières de maladie"],
  [NatureRessource.ETRANGER_TRAVAIL, "Revenu du travail perçu à l'étranger"],
  [NatureRessource.ETRANGER_AUTRE, "Autre revenu perçu à l'étranger"],
  [NatureRessource.NON_SALARIE, "Revenu non salarié"],
  [NatureRessource.MICRO_ENTREPRISE, "Micro-entreprise, après abattement"],
  [NatureRessource.CAPITAL_FONCIER, "Loyers ou placements"],
  [NatureRessource.PRESTATION_COMPENSATOIRE, "Prestation compensatoire"],
  [NatureRessource.GAINS_EXCEPTIONNELS, "Gain exceptionnel"],
  [NatureRessource.AUTRE, "Autre ressource"],
];

/** What a record is: a first amount, a correction, a difference. */
export function recordLabel(record: HeldRecord): string {
  if (record.mode === RecordMode.DIFFERENTIEL) return "différence sur un montant déjà transmis";
  if (record.mode === RecordMode.ANNULATION) return "annulation";
  if ((record.document?.version ?? 1) > 1) return "corrigé : déclaration annule et remplace";
  return record.version > 1 ? "montant corrigé" : "montant transmis";
}

/** A SIRET in groups, as it is written on a payslip; other codes as they are. */
export function payerLabel(declarant: string): string {
  const siret = /^(\d{3})(\d{3})(\d{3})(\d{5})$/.exec(declarant);
  return siret ? `SIRET ${siret.slice(1).join(" ")}` : declarant;
}

export function actorLabel(actor: string): string {
  return actor === "foyer" ? "Vous" : actor === "caf" ? "Caf" : `Payeur (${actor})`;
}
