"""CT numbers of the tissues of the phantom, with their sources.

Sources, by the letter used in the table:

    H  Hounsfield, "Computed medical imaging", Nobel lecture 1979: the scale; air -1000, water 0.
    P  Prokop and Galanski, "Spiral and Multislice Computed Tomography of the Body", Thieme 2003: typical
       ranges of organs, fat, blood, compact and spongy bone.
    S  Schneider, Bortfeld and Schlegel, Phys Med Biol 45 (2000) 459: CT numbers of the ICRU-44 tissues
       (skin, muscle, cartilage, prostate, adipose tissue, cortical bone) from their composition.
    K  Kvist et al., Am J Clin Nutr 48 (1988) 1351: adipose tissue between -190 and -30.
    A  Aubrey et al., Acta Physiol 210 (2014) 489: skeletal muscle attenuation and what changes it.
    B  Schreiber et al., J Bone Joint Surg Am 93 (2011) 1057: trabecular bone, normal to osteoporotic.

Rows without a letter are chosen by eye to look as in clinical scans; nothing is claimed for them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """``hu``: typical CT number; ``varies``: sd between patients; ``texture``: sd within the tissue (HU)."""

    hu: float
    varies: float
    texture: float
    source: str


TISSUES: dict[str, Tissue] = {
    "air": Tissue(-1000, 0, 0, "H"),
    "skin": Tissue(55, 8, 4, "S"),
    "fat": Tissue(-105, 5, 7, "P K S"),
    "pelvic_fat": Tissue(-98, 5, 11, "P K S"),
    "muscle": Tissue(53, 4, 7, "P A S"),
    "thin_muscle": Tissue(46, 4, 6, "P A"),
    "blood": Tissue(45, 5, 2, "P"),
    "cartilage": Tissue(85, 8, 3, "S"),
    "cortical": Tissue(1050, 90, 60, "P S"),
    "subchondral": Tissue(620, 60, 40, "P"),
    "cancellous": Tissue(225, 35, 40, "P B"),
    "cancellous_sparse": Tissue(125, 25, 35, "P B"),
    "marrow_fat": Tissue(-45, 15, 20, "S"),
    "urine": Tissue(6, 3, 1, "P"),
    "bladder_wall": Tissue(34, 3, 2, "P"),
    "prostate": Tissue(42, 3, 4, "P S"),
    "seminal_vesicle": Tissue(30, 4, 4, ""),
    "rectal_wall": Tissue(38, 3, 3, "P"),
    "stool": Tissue(28, 14, 38, ""),
    "bowel_wall": Tissue(40, 4, 3, "P"),
    "bowel_fluid": Tissue(18, 9, 6, "P"),
    "gas": Tissue(-960, 15, 8, "H"),
    "table_shell": Tissue(-120, 60, 0, ""),
    "table_core": Tissue(-940, 15, 0, ""),
}
